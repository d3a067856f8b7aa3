"""The tar export against a plain copy of the same bytes, and against DataComp's resharder, on the same CPUs.

    python -m benchmarks.speed.export [--resharder RESHARDER.PY --python PYTHON] [--folder DIR]

Writes shards as img2dataset does and keeps a random half. Everything is in the page cache when it is read. Of each, two
times are taken: until all is written, to the page cache, and until it is on the disk as well (fsync of every tar). The
order changes from round to round, and the best and the median of the rounds are printed. The copy is `cp` of the
exported tars, that is of the kept bytes, already together, by as many processes as the export may use CPUs. Times of
`export` are those with Ray and its workers up, of `resharder` what it reports for its workers; of `filtering export`
and `resharder.py` those of the whole command. The resharder is DataComp's resharder.py, run by a Python that has what
it imports (webdataset 0.2.31); that it writes the same samples is checked.
"""

import argparse
import json
import os
import random
import re
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import ray

from benchmarks.lib.tables import Row, add_outputs, print_table, write_outputs
from benchmarks.speed import reading
from filtering.exports.export import export
from filtering.exports.options import Options
from filtering.shards.writer import write_shard
from filtering.storage.store import Store
from tests.support.finished_runs import write_finished
from tests.support.pools import Silent

REPORTED = re.compile(r"images in ([\d.]+)s")


@dataclass(frozen=True, slots=True)
class Bench:
    """What is measured on what."""

    folder: Path
    cpus: int
    resharder: str | None
    python: str

    @property
    def out(self) -> Path:
        """Where each writes in its turn."""
        return self.folder / "out"


def main() -> int:
    """Measure and print."""
    given = _arguments()
    folder = Path(tempfile.mkdtemp(prefix="filtering-benchmark-", dir=given.folder))
    try:
        rows = _measured(given, Bench(folder, given.cpus, given.resharder, given.python))
    finally:
        shutil.rmtree(folder)
    print_table(rows)
    write_outputs(rows, given.json, given.plot)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_outputs(parser)
    parser.add_argument("--resharder", metavar="PATH", help="DataComp's resharder.py")
    parser.add_argument("--python", default=sys.executable, help="the Python that runs it")
    parser.add_argument("--folder", metavar="DIR", help="on which disk; a temporary folder's if not given")
    parser.add_argument("--shards", type=int, default=20)
    parser.add_argument("--samples", type=int, default=5000, help="in each shard, of 20 to 60 kB")
    parser.add_argument("--keep", type=float, default=0.5, help="the fraction that is kept")
    parser.add_argument("--cpus", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--resharder-rounds", type=int, default=1, help="of those, with the resharder as well")
    return parser.parse_args()


def _measured(given: argparse.Namespace, bench: Bench) -> list[Row]:
    pool = bench.folder / "pool"
    for shard in range(given.shards):
        noise = random.Random(shard)
        write_shard(pool, shard, [reading._sample(noise, shard * 10_000 + at) for at in range(given.samples)])
    run = write_finished(bench.folder / "run", pool, lambda uid: random.Random(uid).random() < given.keep)
    ray.init(address="local", num_cpus=bench.cpus, include_dashboard=False, log_to_driver=False)
    _exported(bench, run)
    shutil.copytree(bench.out, bench.folder / "kept")
    kept = sorted((bench.folder / "kept").glob("*.tar"))
    size, samples = sum(tar.stat().st_size for tar in kept), sum(_sizes(bench.folder / "kept").values())
    print(
        f"{given.shards * given.samples:,} samples of {_megabytes(pool):,.0f} MB, {samples:,} kept of "
        f"{size / 1e6:,.0f} MB, {bench.cpus} CPUs, {given.rounds} rounds",
        flush=True,
    )
    ways = _ways(bench, run, kept)
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for number in range(given.rounds):
        for name in _turned(list(ways), number):
            if name.startswith("resharder") and number >= given.resharder_rounds:
                continue
            _cleared(bench, pool)
            worked = ways[name]()
            times[name].append((worked, worked + _timed(lambda: _flush(bench.out))))
            if name == "resharder" and number == 0:
                print(f"resharder: {_same_samples(bench.out, kept):,} samples, the same members with the same bytes")
    _cleared(bench, pool)
    return _rows(times, size, samples)


def _ways(bench: Bench, run: Store, kept: list[Path]) -> dict[str, Callable[[], float]]:
    ways = {
        "copy": lambda: _copied(bench, kept),
        "export": lambda: _timed(lambda: _exported(bench, run)),
        "export, shuffled": lambda: _timed(lambda: _exported(bench, run, shuffle=True)),
        "filtering export": lambda: _timed(lambda: _command(bench, run)),
    }
    if bench.resharder:
        ways["resharder"] = lambda: _resharded(bench, run)
        ways["resharder.py"] = lambda: _timed(lambda: _resharded(bench, run))
    return ways


def _timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _exported(bench: Bench, run: Store, shuffle: bool = False) -> None:
    export(run, "tar", str(bench.out), Options(shuffle=shuffle, cpus=bench.cpus), Silent())


def _command(bench: Bench, run: Store) -> None:
    arguments = [run.url, "--format", "tar", "--out", str(bench.out), "--cpus", str(bench.cpus)]
    # A Ray of its own, not that of this process.
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    command = [sys.executable, "-m", "filtering", "export", *arguments]
    subprocess.run(command, check=True, capture_output=True, env=environment)


def _copied(bench: Bench, kept: list[Path]) -> float:
    bench.out.mkdir()
    shares = [kept[at :: bench.cpus] for at in range(bench.cpus)]
    started = time.perf_counter()
    with ThreadPoolExecutor(bench.cpus) as threads:
        list(threads.map(lambda share: subprocess.run(["cp", *share, bench.out], check=True), filter(None, shares)))
    return time.perf_counter() - started


def _resharded(bench: Bench, run: Store) -> float:
    """Run DataComp's resharder; return the seconds that it reports."""
    bench.out.mkdir()
    subset = run.path("manifest/subset.npy")
    arguments = ["-i", bench.folder / "pool", "-o", bench.out, "-s", subset, "-j", str(bench.cpus)]
    command = [bench.python, str(bench.resharder), *map(str, arguments)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    reported = REPORTED.search(done.stderr)
    assert reported, done.stderr
    return float(reported[1])


def _same_samples(out: Path, kept: list[Path]) -> int:
    """Check that the resharder has written the samples that the export has; return how many."""
    ours = {json.loads(members["json"])["uid"]: members for tar in kept for _, members in samples_in(tar)}
    theirs = {key.rpartition("-")[0]: members for tar in sorted(out.glob("*.tar")) for key, members in samples_in(tar)}
    if ours != theirs:
        sys.exit(f"the resharder wrote {len(theirs)} samples, the export {len(ours)}, and they differ")
    return len(ours)


def samples_in(path: Path) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Yield key and members of each sample of a tar, by their extension."""
    with tarfile.open(path) as tar:
        key, members = "", dict[str, bytes]()
        for info in tar:
            stem, _, extension = info.name.partition(".")
            if stem != key and members:
                yield key, members
                members = {}
            file = tar.extractfile(info)
            key, members[extension] = stem, file.read() if file else b""
        if members:
            yield key, members


def _cleared(bench: Bench, pool: Path) -> None:
    """Remove what was written, flush, and have all that is read in the page cache."""
    shutil.rmtree(bench.out, ignore_errors=True)
    os.sync()
    for path in (*pool.glob("*.tar"), *(bench.folder / "kept").glob("*.tar")):
        with path.open("rb", buffering=0) as file:
            while file.read(1 << 22):
                pass


def _flush(out: Path) -> None:
    for path in out.glob("*.tar"):
        with path.open("rb+") as file:
            os.fsync(file.fileno())


def _rows(times: dict[str, list[tuple[float, float]]], size: int, samples: int) -> list[Row]:
    """Return a row for each way, and each of its two ends: all written, and all on the disk."""
    rows = []
    for at, end in enumerate(("written", "on the disk")):
        taken = {name: [pair[at] for pair in pairs] for name, pairs in times.items()}
        copies = taken["copy"]
        for name, seconds in taken.items():
            best, middle = min(seconds), statistics.median(seconds)
            rows.append(
                {
                    "": f"{name}, {end}",
                    "MB/s": round(size / best / 1e6),
                    "samples/s": round(samples / best),
                    "seconds": best,
                    "median": middle,
                    "of the copy": min(copies) / best,
                    "of the copy, medians": statistics.median(copies) / middle,
                }
            )
    return rows


def _turned(names: list[str], by: int) -> list[str]:
    by %= len(names)
    return names[by:] + names[:by]


def _sizes(folder: Path) -> dict[str, int]:
    sizes: dict[str, int] = json.loads((folder / "sizes.json").read_text())
    return sizes


def _megabytes(folder: Path) -> float:
    return sum(tar.stat().st_size for tar in folder.glob("*.tar")) / 1e6


if __name__ == "__main__":
    raise SystemExit(main())
