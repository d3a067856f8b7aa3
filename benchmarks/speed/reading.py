"""Reading shards alone: the validating reader against webdataset's pipeline and a bare tarfile, on the same tars.

    python -m benchmarks.speed.reading [--shards N] [--samples N] [--rounds N] [--json OUT] [--plot OUT]

Writes shards as img2dataset does into a temporary folder, reads each whole with each reader in turn, with a warm page
cache, and prints the median of the rounds. Nothing is decoded: the time is that of headers, grouping and checks.
"""

import random
import statistics
import sys
import tarfile
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import webdataset as wds

from benchmarks.lib.arguments import add_outputs, parser_of
from benchmarks.lib.samples import noise_samples
from benchmarks.lib.tables import Row, print_table, write_outputs
from benchmarks.lib.timing import timed
from filtering.shards.samples import Sample, read_samples
from filtering.shards.writer import write_shard

Reader = Callable[[Sequence[Path]], int]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = parser_of(__doc__)
    parser.add_argument("--shards", type=int, default=4)
    parser.add_argument("--samples", type=int, default=2500, help="in each shard, of 20 to 60 kB")
    parser.add_argument("--rounds", type=int, default=7)
    add_outputs(parser)
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        tars = [_written(Path(folder), shard, given.samples) for shard in range(given.shards)]
        size = sum(tar.stat().st_size for tar in tars)
        rows = _rows(_seconds(tars, given.rounds), given.shards * given.samples, size)
    print_table(rows)
    write_outputs(rows, given.json, given.plot)
    return 0


def _written(folder: Path, shard: int, count: int) -> Path:
    return write_shard(folder, shard, noise_samples(random.Random(shard), shard, count))


def _filtering(tars: Sequence[Path]) -> int:
    count = 0
    for tar in tars:
        with tar.open("rb") as stream:
            count += sum(isinstance(sample, Sample) for sample in read_samples(stream, tar.name))
    return count


def _webdataset(tars: Sequence[Path]) -> int:
    return sum(1 for _ in wds.WebDataset([str(tar) for tar in tars], shardshuffle=False))


def _tarfile(tars: Sequence[Path]) -> int:
    count = 0
    for path in tars:
        with tarfile.open(path) as tar:
            for info in tar:
                member = tar.extractfile(info)
                count += bool(member and member.read() and info.name.endswith(".jpg"))
    return count


READERS: dict[str, Reader] = {"filtering": _filtering, "webdataset": _webdataset, "tarfile": _tarfile}


def _seconds(tars: Sequence[Path], rounds: int) -> dict[str, tuple[float, int]]:
    """Return each reader's median time and the samples it found; a first round warms the page cache."""
    times: dict[str, list[float]] = {name: [] for name in READERS}
    found = dict.fromkeys(READERS, 0)
    for _ in range(rounds + 1):
        for name, reader in READERS.items():
            seconds, found[name] = timed(partial(reader, tars))
            times[name].append(seconds)
    return {name: (statistics.median(taken[1:]), found[name]) for name, taken in times.items()}


def _rows(times: dict[str, tuple[float, int]], samples: int, size: int) -> list[Row]:
    for name, (_, found) in times.items():
        if found != samples:
            sys.exit(f"{name} found {found} samples of {samples}")
    reference = times["webdataset"][0]
    return [
        {
            "reader": name,
            "samples/s": round(samples / seconds),
            "MB/s": round(size / seconds / 1e6),
            "seconds": round(seconds, 3),
            "against webdataset": round(reference / seconds, 2),
        }
        for name, (seconds, _) in times.items()
    ]


if __name__ == "__main__":
    raise SystemExit(main())
