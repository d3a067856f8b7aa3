"""The peak memory of an embedding worker over hard shards, against the bound that `filtering plan` states.

    python -m benchmarks.speed.memory [--only NAME ...] [--scale F] [--json OUT]

One fresh process for each shard: 10,000 pictures; a member of 500 MB; 64-megapixel pictures of nine kinds, small files
that decode to much; captions of the greatest length. Exits with 1 if a peak is above its bound.
"""

import io
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.lib import processes
from benchmarks.lib.arguments import add_outputs, parser_of
from benchmarks.lib.tables import Row, print_table, write_outputs
from benchmarks.lib.timing import timed
from filtering.config.embedding import Embedding
from filtering.config.input import Input
from filtering.runtime.worker import peak_memory_bytes
from filtering.shards.inventory import list_shards
from filtering.storage.store import Store

SETTINGS = Embedding(model="demo")
Member = tuple[str, int, Callable[[], bytes]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and return 1 if a peak is above its bound."""
    parser = parser_of(__doc__)
    parser.add_argument("--only", nargs="+", choices=SHARDS, default=list(SHARDS), metavar="NAME")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the samples, bytes and pixels of each shard")
    add_outputs(parser, plot="")
    given = parser.parse_args(arguments)
    rows = [_measured(name, SHARDS[name](given.scale)) for name in given.only]
    print_table(rows)
    write_outputs(rows, given.json)
    return int(any(row["peak MB"] > row["bound MB"] for row in rows))


def _measured(name: str, members: Iterator[Member]) -> Row:
    with tempfile.TemporaryDirectory(prefix="filtering-benchmark-") as folder:
        with tarfile.open(f"{folder}/00000000.tar", "w") as tar:
            for member, size, data in members:
                info = tarfile.TarInfo(member)
                info.size = size
                tar.addfile(info, io.BytesIO(data()))
        return {"shard": name, **processes.apart(_embed, folder)}


def _embed(folder: str) -> Row:
    from filtering.embedding.memory import embedder_bytes
    from filtering.embedding.tars import TarEmbedder

    (shard,) = list_shards(Input(shards=folder))
    embedder = TarEmbedder(SETTINGS)
    seconds, result = timed(lambda: embedder(shard, Store(f"{folder}/run")))
    model = embedder.model
    size = (model.preparation.width, model.preparation.height, result["samples"])
    # The demo's towers need at most 1 MB to compute a picture and 0.25 MB for a caption.
    bound = embedder_bytes(SETTINGS, *size, model.parameter_bytes(), (1 << 20, 1 << 18))
    return {
        "samples": result["samples"],
        "rows": result["rows"],
        "seconds": round(seconds, 1),
        "peak MB": round(peak_memory_bytes() / 1e6),
        "bound MB": round(bound / 1e6),
    }


def _many(scale: float) -> Iterator[Member]:
    pictures = [_encoded(Image.fromarray(_noise(512, 384, seed)), "JPEG", quality=85) for seed in range(16)]
    for at in range(round(10_000 * scale)):
        yield from _sample(f"{at:012d}", pictures[at % 16], b"a picture of noise")


def _huge_member(scale: float) -> Iterator[Member]:
    size = round(500_000_000 * scale)
    yield from _sample("000000000000", _encoded(Image.fromarray(_noise(64, 64, 0)), "JPEG"), b"before")
    yield "000000000001.jpg", size, lambda: bytes(size)
    yield "000000000001.txt", 4, lambda: b"huge"
    yield from _sample("000000000002", _encoded(Image.fromarray(_noise(64, 64, 1)), "JPEG"), b"after")


def _large_pictures(scale: float) -> Iterator[Member]:
    side = round(8000 * scale**0.5)
    plain = Image.new("RGB", (side, side), "red")
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
    yield from _sample("sixteen", _encoded(Image.new("I;16", (side, side), 7), "PNG"), b"a grey field")
    yield from _sample("cmyk", _encoded(plain.convert("CMYK"), "JPEG", progressive=True), b"a red field")


def _long_captions(scale: float) -> Iterator[Member]:
    picture = _encoded(Image.fromarray(_noise(64, 64, 0)), "JPEG")
    for at in range(round(4_000 * scale)):
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


SHARDS: dict[str, Callable[[float], Iterator[Member]]] = {
    "10,000 pictures of 512 x 384": _many,
    "a member of 500 MB": _huge_member,
    "pictures of 64 megapixels, of nine kinds": _large_pictures,
    "4,000 captions of 65 kB": _long_captions,
}

if __name__ == "__main__":
    raise SystemExit(main())
