"""The peak memory of an embedding worker over hard shards, against the bound that `filtering plan` states.

    python -m benchmarks.speed.memory [--json OUT]

One fresh process a shard: 10,000 pictures, a member of 500 MB, a 64-megapixel picture of each kind that decodes to much
from little, captions of the greatest length. Exits with 1 if one is above its bound.
"""

import argparse
import io
import json
import multiprocessing
import shutil
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from filtering.config.run import Embedding, Input
from filtering.runtime.worker import peak_memory_bytes
from filtering.shards.inventory import list_shards
from filtering.storage.store import Store

SETTINGS = Embedding(model="demo")
LARGE = (8000, 8000)
Member = tuple[str, int, Callable[[], bytes]]


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", metavar="OUT", help="write the figures there, too")
    given = parser.parse_args()
    rows = [_measured(name, members) for name, members in SHARDS.items()]
    print(f"{'shard':<42}{'samples':>8}{'rows':>8}{'seconds':>9}{'peak MB':>9}{'bound MB':>10}")
    for row in rows:
        numbers = f"{row['samples']:>8,}{row['rows']:>8,}{row['seconds']:>9.1f}"
        print(f"{row['shard']:<42}{numbers}{row['peak'] / 1e6:>9,.0f}{row['bound'] / 1e6:>10,.0f}")
    if given.json:
        Path(given.json).write_text(json.dumps(rows, indent=1) + "\n")
    return int(any(row["peak"] > row["bound"] for row in rows))


def _measured(name: str, members: Callable[[], Iterator[Member]]) -> dict[str, Any]:
    folder = Path(tempfile.mkdtemp(prefix="filtering-benchmark-"))
    try:
        with tarfile.open(folder / "00000000.tar", "w") as tar:
            for member, size, data in members():
                info = tarfile.TarInfo(member)
                info.size = size
                tar.addfile(info, io.BytesIO(data()))
        context = multiprocessing.get_context("spawn")
        answers = context.Queue()
        worker = context.Process(target=_embed, args=(answers, str(folder)))
        worker.start()
        row: dict[str, Any] = answers.get(timeout=1200)
        worker.join()
        return {"shard": name, **row}
    finally:
        shutil.rmtree(folder)


def _embed(answers: Any, folder: str) -> None:
    from filtering.embedding.memory import embedder_bytes
    from filtering.embedding.tars import TarEmbedder

    (shard,) = list_shards(Input(shards=folder))
    embedder = TarEmbedder(SETTINGS)
    started = time.perf_counter()
    result = embedder(shard, Store(f"{folder}/run"))
    model = embedder.model
    size = (model.preparation.width, model.preparation.height, result["samples"])
    # What the demo's towers need to compute, generously: at most 1 MB for a picture, 0.25 MB for a caption.
    bound = embedder_bytes(SETTINGS, *size, model.parameter_bytes(), (1 << 20, 1 << 18))
    answers.put(
        {
            "samples": result["samples"],
            "rows": result["rows"],
            "seconds": round(time.perf_counter() - started, 1),
            "peak": peak_memory_bytes(),
            "bound": bound,
        }
    )


def _many() -> Iterator[Member]:
    pictures = [_encoded(Image.fromarray(_noise(512, 384, seed)), "JPEG", quality=85) for seed in range(16)]
    for at in range(10_000):
        yield from _sample(f"{at:012d}", pictures[at % 16], b"a picture of noise")


def _huge_member() -> Iterator[Member]:
    yield from _sample("000000000000", _encoded(Image.fromarray(_noise(64, 64, 0)), "JPEG"), b"before")
    yield "000000000001.jpg", 500_000_000, lambda: bytes(500_000_000)
    yield "000000000001.txt", 4, lambda: b"huge"
    yield from _sample("000000000002", _encoded(Image.fromarray(_noise(64, 64, 1)), "JPEG"), b"after")


def _large_pictures() -> Iterator[Member]:
    plain = Image.new("RGB", LARGE, "red")
    kinds: dict[str, tuple[str, dict[str, Any]]] = {
        "baseline": ("JPEG", {}),
        "progressive": ("JPEG", {"progressive": True}),
        "interlaced": ("PNG", {}),
        "webp": ("WEBP", {"quality": 50}),
        "tiff": ("TIFF", {"compression": "tiff_lzw"}),
        "gif": ("GIF", {}),
    }
    for name, (kind, options) in kinds.items():
        yield from _sample(name, _encoded(plain, kind, **options), b"a red field")
    yield from _sample("alpha", _encoded(plain.convert("RGBA"), "PNG"), b"a red field")
    yield from _sample("sixteen", _encoded(Image.new("I;16", LARGE, 7), "PNG"), b"a grey field")
    yield from _sample("cmyk", _encoded(plain.convert("CMYK"), "JPEG", progressive=True), b"a red field")


def _long_captions() -> Iterator[Member]:
    picture = _encoded(Image.fromarray(_noise(64, 64, 0)), "JPEG")
    for at in range(4_000):
        yield from _sample(f"{at:012d}", picture, b"many words " * 5_900)


def _noise(width: int, height: int, seed: int) -> Any:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def _encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def _sample(key: str, picture: bytes, caption: bytes) -> Iterator[Member]:
    yield f"{key}.jpg", len(picture), lambda: picture
    yield f"{key}.txt", len(caption), lambda: caption


SHARDS = {
    "10,000 pictures of 512 x 384": _many,
    "a member of 500 MB": _huge_member,
    "pictures of 64 megapixels, of nine kinds": _large_pictures,
    "4,000 captions of 65 kB": _long_captions,
}

if __name__ == "__main__":
    sys.exit(main())
