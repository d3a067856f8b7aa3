"""One manifest, whatever happens: a run with 1 worker, with 2, and killed -9 in the middle of its longest stages.

    python -m benchmarks.speed.resume --folder DIR [--rows 1000000] [--json OUT] [--plot OUT]

Each killed run loses its driver and everything that it started, Ray's processes and all workers, a few seconds into the
stage, and is then given the same command again. Pools and runs are those of scale.py.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.lib.tables import add_outputs, print_table, write_outputs
from benchmarks.speed.scale import family, filtering, write_config
from filtering.runtime.status import status
from filtering.storage.store import Store

STAGES = ("partitions", "graph", "selection")
# Seconds that a stage works before it is killed: it has finished some of its tasks, and some are half done.
WORKING = {"partitions": 1.0, "graph": 10.0, "selection": 1.0}


def main() -> int:
    """Measure, print, and return 1 if two manifests differ."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", required=True)
    parser.add_argument("--rows", type=int, default=1_000_000)
    add_outputs(parser)
    given = parser.parse_args()
    folder = Path(given.folder)
    rows = [_run(folder, given.rows, workers) for workers in (2, 1)]
    rows += [_killed(folder, given.rows, stage) for stage in STAGES]
    print_table(rows)
    write_outputs(rows, given.json, given.plot)
    return int(len({row["manifest"] for row in rows}) > 1)


def _run(folder: Path, rows: int, workers: int) -> dict[str, Any]:
    config, out = write_config(folder, rows)
    shutil.rmtree(out, ignore_errors=True)
    return _finished(f"{workers} worker{'s' * (workers > 1)}", config, out, workers)


def _killed(folder: Path, rows: int, stage: str) -> dict[str, Any]:
    config, out = write_config(folder, rows)
    shutil.rmtree(out, ignore_errors=True)
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    driver = subprocess.Popen([sys.executable, "-m", "filtering", "run", "--config", str(config)], **quiet)
    while not _works_on(out, stage):
        if driver.poll() is not None:
            sys.exit(f"the run ended before stage {stage}")
        time.sleep(0.05)
    time.sleep(WORKING[stage])
    if not _works_on(out, stage):
        sys.exit(f"stage {stage} was over within {WORKING[stage]:.0f} s: ask for more rows")
    for process in family(driver.pid):
        os.kill(process, signal.SIGKILL)
    driver.wait()
    return _finished(f"killed in {stage}, then again", config, out, 2)


def _works_on(out: Path, stage: str) -> bool:
    told = status(Store(str(out)))["stages"] if (out / "events.jsonl").exists() else []
    return bool(told) and told[-1]["name"] == stage and told[-1]["state"] == "running"


def _finished(name: str, config: Path, out: Path, workers: int) -> dict[str, Any]:
    started = time.perf_counter()
    record = filtering("run", "--config", str(config), "--set", f"ray.num_cpus={workers}")[0]
    seconds = time.perf_counter() - started
    filtering("verify", str(out))
    kept = record["totals"]["kept"]
    return {"run": name, "seconds": round(seconds, 1), "kept": kept, "manifest": record["manifest_hash"]}


if __name__ == "__main__":
    raise SystemExit(main())
