"""One manifest in every case: a run with 1 worker, with 2, and killed with -9 in the middle of its longest stages.

    python -m benchmarks.speed.resume --folder DIR [--rows 1000000] [--json OUT] [--plot OUT]

Each killed run loses its driver and all processes that it started, Ray's included, a few seconds into the stage; the
same command is then run again. Pools and runs are those of benchmarks.speed.scale.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.lib import runs
from benchmarks.lib.arguments import add_address, add_outputs, parser_of
from benchmarks.lib.processes import family
from benchmarks.lib.tables import Row, print_table, write_outputs
from benchmarks.lib.timing import timed
from filtering.runtime.status import status
from filtering.storage.store import Store

# Seconds that a stage works before it is killed: some of its tasks have finished, and some are half done.
WORKING = {"partitions": 1.0, "graph": 10.0, "scores": 1.0, "selection": 1.0}


@dataclass(frozen=True, slots=True)
class Bench:
    """The run that is repeated: its configuration and its output."""

    config: Path
    out: Path

    def whole(self, workers: int) -> Row:
        """Run from the beginning with some number of workers."""
        shutil.rmtree(self.out, ignore_errors=True)
        return self._finished(f"{workers} worker{'s' * (workers > 1)}", workers)

    def killed(self, stage: str, working: float) -> Row:
        """Run from the beginning, kill everything in the middle of a stage, and run again."""
        shutil.rmtree(self.out, ignore_errors=True)
        command = [sys.executable, "-m", "filtering", "run", "--config", str(self.config)]
        driver = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            self._wait_for(stage, driver)
            time.sleep(working)
            if working and not self._works_on(stage):
                sys.exit(f"stage {stage} was over within {working:g} s: use more --rows or less --working")
        finally:
            if driver.poll() is None:
                for process in family(driver.pid):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(process, signal.SIGKILL)
                driver.wait()
        return self._finished(f"killed in {stage}, then again", 2)

    def _wait_for(self, stage: str, driver: "subprocess.Popen[bytes]") -> None:
        while not self._works_on(stage):
            if driver.poll() is not None:
                sys.exit(f"the run ended before stage {stage}")
            time.sleep(0.01)

    def _works_on(self, stage: str) -> bool:
        stages = status(Store(str(self.out)))["stages"] if (self.out / "events.jsonl").exists() else []
        return bool(stages) and stages[-1]["name"] == stage and stages[-1]["state"] == "running"

    def _finished(self, name: str, workers: int) -> Row:
        options = ("--config", str(self.config), "--set", f"ray.num_cpus={workers}")
        seconds, (record, _) = timed(lambda: runs.filtering("run", *options))
        runs.filtering("verify", str(self.out))
        kept = record["totals"]["kept"]
        return {"run": name, "seconds": round(seconds, 1), "kept": kept, "manifest": record["manifest_hash"]}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and return 1 if two manifests differ."""
    parser = parser_of(__doc__)
    parser.add_argument("--folder", required=True, help="where the pool and the run are kept")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--stages", nargs="+", choices=WORKING, default=list(WORKING), help="where runs are killed")
    parser.add_argument("--working", type=float, help="seconds that a stage works before it is killed")
    add_address(parser)
    add_outputs(parser)
    given = parser.parse_args(arguments)
    bench = Bench(*runs.write_config(Path(given.folder), given.rows, given.address))
    rows = [bench.whole(workers) for workers in (2, 1)]
    rows += [bench.killed(stage, WORKING[stage] if given.working is None else given.working) for stage in given.stages]
    print_table(rows)
    write_outputs(rows, given.json, given.plot)
    return int(len({row["manifest"] for row in rows}) > 1)


if __name__ == "__main__":
    raise SystemExit(main())
