"""Pool-like embeddings of any size, streamed to disk as DataComp metadata.

    python -m benchmarks.lib.pool_like --rows 1000000 --out DIR [--dimension 512] [--shard-rows 500000] [--seed 0]

A long-tailed mixture on the sphere: Zipf-distributed components whose centres and spread have a power-law spectrum, as
embeddings do; 5 % of the rows are near-duplicates of popular vectors, across shards. The seed and a shard's number
determine the shard.
"""

import hashlib
import multiprocessing
import zipfile
from collections.abc import Iterator, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.lib.arguments import parser_of
from benchmarks.lib.timing import seconds_of

Vectors = npt.NDArray[np.float32]

BLOCK_ROWS = 2_048
MOST_COMPONENTS = 5_000
VIRAL = 50_000
VIRAL_SHARE = 0.05
SPECTRUM = 0.6
SPREAD = 0.8
DUPLICATE_NOISE = 0.02
# The mean and the standard deviation of the cosine of an image and its caption.
COSINE = (0.27, 0.05)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write a pool."""
    parser = parser_of(__doc__)
    parser.add_argument("--rows", type=int, required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--dimension", type=int, default=512)
    parser.add_argument("--shard-rows", type=int, default=500_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args(arguments)
    options = (given.out, given.rows, given.dimension, given.shard_rows, given.seed, given.workers)
    print(f"{given.rows:,} rows in {seconds_of(lambda: write_pool(*options)):.0f} s")
    return 0


def write_pool(
    out: str, rows: int, dimension: int = 512, shard_rows: int = 500_000, seed: int = 0, workers: int = 2
) -> None:
    """Write a pool: a parquet file and an npz (arrays img and txt, float16) for every `shard_rows` rows."""
    Path(out).mkdir(parents=True, exist_ok=True)
    counts = [min(shard_rows, rows - start) for start in range(0, rows, shard_rows)]
    write = partial(write_shard, out, Mixture(rows, dimension, seed))
    if min(workers, len(counts)) == 1:
        for shard, count in enumerate(counts):
            write(shard, count)
        return
    with multiprocessing.get_context("spawn").Pool(min(workers, len(counts))) as pool:
        pool.starmap(write, enumerate(counts), chunksize=1)


def vectors(rows: int, dimension: int = 512, seed: int = 0) -> Vectors:
    """Return the image embeddings of a pool of one shard, unit-norm float32 (rows, dimension)."""
    found, start = np.empty((rows, dimension), dtype=np.float32), 0
    for images, _ in Mixture(rows, dimension, seed).blocks(0, rows):
        found[start : start + len(images)] = images
        start += len(images)
    return found


class Mixture:
    """The distribution that a pool's rows are drawn from."""

    def __init__(self, rows: int, dimension: int, seed: int) -> None:
        self.rows, self.seed, self.dimension = rows, seed, dimension
        scale = np.arange(1, dimension + 1, dtype=np.float32) ** -SPECTRUM
        self.scale = scale / np.linalg.norm(scale)
        self.components = max(1, min(MOST_COMPONENTS, int(rows**0.5)))

    def blocks(self, shard: int, rows: int) -> Iterator[tuple[Vectors, Vectors]]:
        """Yield a shard's image and caption embeddings in blocks, float32 (b, d) each."""
        centres = self._normal(np.random.default_rng([self.seed, 1]), self.components)
        viral = self._drawn(np.random.default_rng([self.seed, 2]), centres, min(VIRAL, self.rows // 20 + 1))
        random = np.random.default_rng([self.seed, 3, shard])
        for start in range(0, rows, BLOCK_ROWS):
            count = min(BLOCK_ROWS, rows - start)
            images = self._drawn(random, centres, count)
            copies = np.flatnonzero(random.random(count) < VIRAL_SHARE)
            noise = DUPLICATE_NOISE * self._normal(random, len(copies))
            images[copies] = viral[_zipf(random, len(viral), len(copies))] + noise
            images = _unit(images)
            cosine: Vectors = random.normal(*COSINE, size=(count, 1)).clip(0.02, 0.6).astype(np.float32)
            noise = self._normal(random, count)
            # Without its part along the image, the noise does not change the cosine.
            noise -= np.einsum("nd,nd->n", noise, images)[:, None] * images
            across: Vectors = np.sqrt(1 - cosine**2)
            yield images, cosine * images + across * _unit(noise)

    def _drawn(self, random: np.random.Generator, centres: Vectors, count: int) -> Vectors:
        return centres[_zipf(random, len(centres), count)] + SPREAD * self._normal(random, count)

    def _normal(self, random: np.random.Generator, count: int) -> Vectors:
        drawn = random.standard_normal((count, self.dimension), dtype=np.float32)
        drawn *= self.scale
        return drawn


def _zipf(random: np.random.Generator, size: int, count: int) -> npt.NDArray[np.intp]:
    cumulated = _zipf_cumulated(size)
    return np.asarray(np.searchsorted(cumulated, random.random(count) * cumulated[-1]))


@lru_cache
def _zipf_cumulated(size: int) -> npt.NDArray[np.float64]:
    return np.cumsum(1 / np.arange(1, size + 1))


def _unit(rows: Vectors) -> Vectors:
    rows /= np.sqrt(np.einsum("nd,nd->n", rows, rows))[:, None]
    return rows


class Topical(Mixture):
    """A mixture whose shards show only a few components, as a crawl of one site would."""

    def _drawn(self, random: np.random.Generator, centres: Vectors, count: int) -> Vectors:
        few = centres[len(centres) // 2 :][: max(1, len(centres) // 200)]
        return few[random.integers(0, len(few), count)] + SPREAD * self._normal(random, count)


def write_shard(out: str, mixture: Mixture, shard: int, rows: int) -> None:
    """Write one shard, determined by the mixture and the shard's number."""
    name = hashlib.md5(f"{mixture.seed}/{shard}".encode()).hexdigest()
    scores = np.empty(rows, dtype=np.float32)
    # Each member is written from start to end: captions wait in a file of their own.
    waiting = Path(out) / f"{name}.txt"
    with zipfile.ZipFile(Path(out) / f"{name}.npz", "w", zipfile.ZIP_STORED) as archive:
        with archive.open(_member("img"), "w", force_zip64=True) as member, waiting.open("wb") as captions:
            for stream in (member, captions):
                _write_header(stream, rows, mixture.dimension)
            start = 0
            for images, texts in mixture.blocks(shard, rows):
                member.write(images.astype(np.float16).tobytes())
                captions.write(texts.astype(np.float16).tobytes())
                scores[start : start + len(images)] = np.einsum("nd,nd->n", images, texts)
                start += len(images)
        with archive.open(_member("txt"), "w", force_zip64=True) as member, waiting.open("rb") as captions:
            while data := captions.read(1 << 24):
                member.write(data)
    waiting.unlink()
    pq.write_table(_table(mixture.seed, shard, rows, scores), Path(out) / f"{name}.parquet", compression="zstd")


def _member(name: str) -> zipfile.ZipInfo:
    return zipfile.ZipInfo(f"{name}.npy", (2026, 1, 1, 0, 0, 0))


def _write_header(stream: IO[bytes], rows: int, dimension: int) -> None:
    described = {"descr": "<f2", "fortran_order": False, "shape": (rows, dimension)}
    np.lib.format.write_array_header_1_0(stream, described)


def _table(seed: int, shard: int, rows: int, scores: npt.NDArray[np.float32]) -> pa.Table:
    raw = np.random.default_rng([seed, 4, shard]).bytes(16 * rows).hex()
    uids = [raw[at : at + 32] for at in range(0, len(raw), 32)]
    size = pa.array(np.full(rows, 512, dtype=np.int64))
    return pa.table(
        {
            "uid": uids,
            "url": [f"https://example.org/{shard}/{row}.jpg" for row in range(rows)],
            "text": [f"picture {row} of shard {shard}" for row in range(rows)],
            "original_width": size,
            "original_height": size,
            "clip_l14_similarity_score": pa.array(scores),
        }
    )


if __name__ == "__main__":
    raise SystemExit(main())
