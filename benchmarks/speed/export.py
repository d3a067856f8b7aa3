"""The tar export against a plain copy of the same bytes, and against DataComp's resharder, on the same CPUs.

    python -m benchmarks.speed.export [--resharder RESHARDER.PY --python PYTHON] [--folder DIR]

Writes shards as img2dataset does and keeps a random half. Everything is in the page cache when it is read. Each is
timed twice: until all is written to the page cache, and until it is on the disk as well (fsync of every tar). The
order changes from round to round, and the best and the median of the rounds are printed. The copy is `cp` of the
exported tars, whose bytes are already together, by as many processes as the export may use CPUs. `export` is timed
with Ray and its workers up, `resharder` by the seconds it reports for its workers; `filtering export` and
`resharder.py` are whole commands. The resharder is DataComp's resharder.py, run by a Python that has its dependencies
(webdataset 0.2.31); the benchmark checks that it writes the same samples.
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
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from benchmarks.lib import runs
from benchmarks.lib.arguments import add_address, add_outputs, parser_of
from benchmarks.lib.samples import noise_samples
from benchmarks.lib.tables import Row, print_table, write_outputs
from benchmarks.lib.timing import seconds_of
from filtering.config.run import Ray
from filtering.exports.export import export
from filtering.exports.options import Options
from filtering.runtime.executor import Executor, executor_for
from filtering.shards.writer import write_shard
from filtering.storage.store import Store
from tests.support.finished_runs import write_finished
from tests.support.pools import Silent

REPORTED = re.compile(r"images in ([\d.]+)s")


@dataclass(frozen=True, slots=True)
class Bench:
    """A finished run over a pool, and the exporters that are compared on it."""

    folder: Path
    run: Store
    cpus: int
    executor: Executor
    resharder: str | None
    python: str

    @property
    def pool(self) -> Path:
        """The folder of the pool's shards."""
        return self.folder / "pool"

    @property
    def kept(self) -> Path:
        """The folder of a copy of the exported tars."""
        return self.folder / "kept"

    @property
    def out(self) -> Path:
        """The folder that each exporter writes in its turn."""
        return self.folder / "out"

    def exporters(self) -> dict[str, Callable[[], float]]:
        """Return by name what is compared; each call fills `out` and returns its seconds."""
        found = {
            "copy": self.copied,
            "export": lambda: seconds_of(self.exported),
            "export, shuffled": lambda: seconds_of(lambda: self.exported(shuffle=True)),
            "filtering export": lambda: seconds_of(self._command),
        }
        if self.resharder:
            found["resharder"] = self._resharded
            found["resharder.py"] = lambda: seconds_of(self._resharded)
        return found

    def exported(self, shuffle: bool = False) -> None:
        """Export in this process and its Ray."""
        options = Options(shuffle=shuffle, cpus=self.cpus)
        export(self.run, "tar", str(self.out), options, Silent(), self.executor)

    def copied(self) -> float:
        """Copy the exported tars with one `cp` for each CPU; return the seconds."""
        self.out.mkdir()
        tars = sorted(self.kept.glob("*.tar"))
        shares = [share for at in range(self.cpus) if (share := tars[at :: self.cpus])]

        def copy(share: Sequence[Path]) -> None:
            subprocess.run(["cp", *share, self.out], check=True)

        with ThreadPoolExecutor(self.cpus) as threads:
            return seconds_of(lambda: list(threads.map(copy, shares)))

    def same_samples(self) -> int:
        """Check that the resharder has written the samples of the export; return their number."""
        ours = {
            json.loads(members["json"])["uid"]: members
            for tar in sorted(self.kept.glob("*.tar"))
            for _, members in samples_in(tar)
        }
        theirs = {
            key.rpartition("-")[0]: members
            for tar in sorted(self.out.glob("*.tar"))
            for key, members in samples_in(tar)
        }
        if ours != theirs:
            sys.exit(f"the resharder wrote {len(theirs)} samples, the export {len(ours)}, and they differ")
        return len(ours)

    def clear(self) -> None:
        """Remove the output, flush, and read all input into the page cache."""
        shutil.rmtree(self.out, ignore_errors=True)
        os.sync()
        for path in (*self.pool.glob("*.tar"), *self.kept.glob("*.tar")):
            with path.open("rb", buffering=0) as file:
                while file.read(1 << 22):
                    pass

    def flush(self) -> None:
        """Have every tar of the output on the disk."""
        for path in self.out.glob("*.tar"):
            with path.open("rb+") as file:
                os.fsync(file.fileno())

    def _command(self) -> None:
        arguments = [self.run.url, "--format", "tar", "--out", str(self.out), "--cpus", str(self.cpus)]
        # A Ray of its own, not the one of this process.
        environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
        command = [sys.executable, "-m", "filtering", "export", *arguments]
        subprocess.run(command, check=True, capture_output=True, env=environment)

    def _resharded(self) -> float:
        """Run DataComp's resharder; return the seconds that it reports."""
        self.out.mkdir()
        subset = self.run.path("manifest/subset.npy")
        arguments = ["-i", self.pool, "-o", self.out, "-s", subset, "-j", self.cpus]
        command = [self.python, str(self.resharder), *map(str, arguments)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        reported = REPORTED.search(done.stderr)
        assert reported, done.stderr
        return float(reported[1])


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    given = _parser().parse_args(arguments)
    runs.start_ray(given.address, num_cpus=given.cpus)
    with tempfile.TemporaryDirectory(prefix="filtering-benchmark-", dir=given.folder) as folder:
        rows = _measured(given, Path(folder))
    print_table(rows)
    write_outputs(rows, given.json, given.plot)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = parser_of(__doc__)
    parser.add_argument("--resharder", metavar="PATH", help="DataComp's resharder.py")
    parser.add_argument("--python", default=sys.executable, help="the Python that runs it")
    parser.add_argument("--folder", metavar="DIR", help="on the disk to measure; a temporary folder by default")
    parser.add_argument("--shards", type=int, default=20)
    parser.add_argument("--samples", type=int, default=5000, help="in each shard, of 20 to 60 kB")
    parser.add_argument("--keep", type=float, default=0.5, help="the fraction that is kept")
    parser.add_argument("--cpus", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--resharder-rounds", type=int, default=1, help="how many of them include the resharder")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="exporters to compare beside `copy`")
    add_address(parser)
    add_outputs(parser)
    return parser


def _measured(given: argparse.Namespace, folder: Path) -> list[Row]:
    for shard in range(given.shards):
        write_shard(folder / "pool", shard, noise_samples(random.Random(shard), shard, given.samples))
    run = write_finished(folder / "run", folder / "pool", lambda uid: random.Random(uid).random() < given.keep)
    executor = executor_for(Ray(address=given.address, num_cpus=given.cpus))
    bench = Bench(folder, run, given.cpus, executor, given.resharder, given.python)
    bench.exported()
    shutil.copytree(bench.out, bench.kept)
    size, samples = _bytes(bench.kept), sum(json.loads((bench.kept / "sizes.json").read_text()).values())
    print(
        f"{given.shards * given.samples:,} samples of {_bytes(bench.pool) / 1e6:,.0f} MB, {samples:,} kept of "
        f"{size / 1e6:,.0f} MB, {bench.cpus} CPUs, {given.rounds} rounds",
        flush=True,
    )
    return _rows(_times(bench, given), size, samples)


def _times(bench: Bench, given: argparse.Namespace) -> dict[str, list[tuple[float, float]]]:
    """Return the seconds of each exporter in each round: until all is written, and until it is on the disk."""
    exporters = bench.exporters()
    names = [name for name in exporters if given.only is None or name in ("copy", *given.only)]
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    for number in range(given.rounds):
        for name in _turned(names, number):
            if name.startswith("resharder") and number >= given.resharder_rounds:
                continue
            bench.clear()
            worked = exporters[name]()
            times[name].append((worked, worked + seconds_of(bench.flush)))
            if name == "resharder" and number == 0:
                print(f"resharder: {bench.same_samples():,} samples, the same members with the same bytes")
    bench.clear()
    return times


def samples_in(path: Path) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Yield the key and the members, by extension, of each sample of a tar."""
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


def _rows(times: dict[str, list[tuple[float, float]]], size: int, samples: int) -> list[Row]:
    """Return a row for each exporter and each of its two ends: all written, and all on the disk."""
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


def _bytes(folder: Path) -> int:
    return sum(tar.stat().st_size for tar in folder.glob("*.tar"))


if __name__ == "__main__":
    raise SystemExit(main())
