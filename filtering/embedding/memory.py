"""The peak memory of an embedding process: the formula that `plan` prints and benchmarks.speed.memory checks."""

from filtering.config.embedding import Embedding
from filtering.embedding.decoding import BATCHES_AHEAD
from filtering.embedding.text_share import detects_text
from filtering.shards.samples import WINDOW_BYTES
from filtering.storage.streams import BLOCK_BYTES

# Resident sizes measured on an idle worker: Ray, numpy and pyarrow; and torch, torchvision and open_clip besides.
PROCESS_BYTES = 350 << 20
TORCH_BYTES = 700 << 20
# A picture while it is decoded and converted, whatever its format (measured: a progressive JPEG, an animated WebP).
BYTES_PER_PIXEL = 12
# An encoded picture is held as it was read, and as it is given to the decoder.
ENCODED_COPIES = 2
# The detector of text at work (measured).
TEXT_DETECTOR_BYTES = 200 << 20
# Rows and captions that wait to be written, as Python objects.
WAITING_ROWS_BYTES = 64 << 20
# What the reader remembers of each member, to notice repeats.
BYTES_PER_MEMBER = 1100
MEMBERS_PER_SAMPLE = 3


def decoder_bytes(settings: Embedding, width: int, height: int, largest_shard: int, further: int = 0) -> int:
    """Return the most bytes of a process that decodes tars, of at most `largest_shard` samples.

    Width and height are those of the image that the model takes, in pixels; `further` pixels are those of the images
    that other encoders take.
    """
    image = ENCODED_COPIES * settings.max_image_bytes + BYTES_PER_PIXEL * settings.max_pixels
    batches = (BATCHES_AHEAD + 2) * settings.batch_size * (width * height + further) * 3
    members = largest_shard * MEMBERS_PER_SAMPLE * BYTES_PER_MEMBER
    text = TEXT_DETECTOR_BYTES if detects_text(settings.signals) else 0
    return PROCESS_BYTES + TORCH_BYTES + WINDOW_BYTES + 3 * BLOCK_BYTES + image + batches + members + text


def embedder_bytes(
    settings: Embedding,
    width: int,
    height: int,
    largest_shard: int,
    model_bytes: int,
    forward_bytes: tuple[int, int],
    further: int = 0,
) -> int:
    """Return the most bytes of a process that holds the model, of `model_bytes`, and decodes beside it.

    `forward_bytes` are those that the towers need for one image, and for one caption, while they compute (measured by
    the probe). `further` as `decoder_bytes`.
    """
    decoding = decoder_bytes(settings, width, height, largest_shard, further)
    floats = 2 * settings.batch_size * max(width * height, further) * 3 * 4
    towers = max(settings.batch_size * forward_bytes[0], settings.text_batch_size * forward_bytes[1])
    return decoding + model_bytes + floats + towers + WAITING_ROWS_BYTES
