"""Samples as img2dataset writes them, with bytes of noise in place of pictures."""

import random

from filtering.shards.writer import ShardSample

IMAGE_BYTES = (20_000, 60_000)
WORDS = ("a", "red", "kite", "over", "the", "grey", "sea")


def noise_samples(noise: random.Random, shard: int, count: int) -> list[ShardSample]:
    """Return the samples of a shard; each has a key of its own in the pool."""
    return [_sample(noise, shard * 10_000 + at) for at in range(count)]


def _sample(noise: random.Random, number: int) -> ShardSample:
    key, uid = f"{number:012d}", f"{noise.getrandbits(128):032x}"
    caption = " ".join(noise.choice(WORDS) for _ in range(12))
    fields = {"uid": uid, "caption": caption, "url": f"http://example.org/{key}.jpg", "key": key, "status": "success"}
    sizes = {"error_message": None, "width": 256, "height": 256, "original_width": 800, "original_height": 600}
    metadata = fields | sizes | {"exif": "{}", "sha256": f"{noise.getrandbits(256):064x}"}
    image = b"\xff\xd8\xff\xe0" + noise.randbytes(noise.randint(*IMAGE_BYTES))
    return ShardSample(key, image, caption.encode(), metadata)
