"""Whole runs over pools of growing size: seconds a stage against the plan, memory, recall, growth.

    python -m benchmarks.speed.scale --rows 100000 1000000 12800000 --folder DIR [--json OUT] [--plot OUT]

Pools come from pool_like.py and are kept in DIR (27 GB for 12.8 million rows of 512; a run of that size takes 45 GB
more at its peak). Memory is the sum of the anonymous and shared memory of all processes of a run, Ray's included, seen
every second: pages of mapped files, which the system takes back when it needs them, are left out.
"""

import argparse
import json
import math
import shutil
import subprocess
import sys
import threading
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.lib.pool_like import write_pool
from benchmarks.lib.tables import add_outputs, print_table, write_outputs


def main() -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--folder", required=True)
    add_outputs(parser)
    given = parser.parse_args()
    runs = [_measured(Path(given.folder), rows) for rows in sorted(given.rows)]
    for run in runs:
        print(
            f"\n{run['rows']:,} rows: recall@10 {run['recall']}, {run['guests']} guests a row, manifest {run['hash']}"
        )
        print_table(run["stages"])
    print()
    totals = [{key: value for key, value in run.items() if key not in ("stages", "hash")} for run in runs]
    print_table(totals)
    if len(runs) > 1:
        print_table(_slopes(runs))
    write_outputs(totals, given.json, given.plot)
    return 0


def write_config(folder: Path, rows: int) -> tuple[Path, Path]:
    """Write the configuration of a run over a pool of so many rows, and the pool if it is not there.

    Returns
    -------
    config, output : Path
    """
    pool, out, config = folder / f"pool-{rows}", folder / f"run-{rows}", folder / f"run-{rows}.yaml"
    if not pool.exists():
        write_pool(str(pool), rows, shard_rows=min(500_000, max(rows // 2, 1)))
    source = {"metadata": str(pool), "arrays": {"image": "img", "text": "txt"}}
    selection = {"method": "d2", "keep": 0.3, "budget": "complexity"}
    settings = {"input": source, "selection": selection, "output": str(out), "ray": {"address": "local"}}
    config.write_text(json.dumps(settings))
    return config, out


def _measured(folder: Path, rows: int) -> dict[str, Any]:
    config, out = write_config(folder, rows)
    shutil.rmtree(out, ignore_errors=True)
    planned, _ = filtering("plan", "--config", str(config))
    started = time.perf_counter()
    run, memory = filtering("run", "--config", str(config))
    seconds = time.perf_counter() - started
    filtering("verify", str(out))
    return {
        "rows": rows,
        "seconds": round(seconds, 1),
        "planned": planned["seconds"],
        "planned / measured": round(planned["seconds"] / seconds, 2),
        "peak GB": round(memory / 1e9, 2),
        "recall": run["recall"],
        "guests": round(run["graph"]["guests"] / rows, 2),
        "distances / N^2": run["graph"]["share_of_brute_force"],
        "hash": run["manifest_hash"][:16],
        "stages": _stages(run, planned),
    }


def _stages(run: dict[str, Any], planned: dict[str, Any]) -> list[dict[str, Any]]:
    """Return each stage's seconds and its largest task's memory beside what the plan said."""
    plan = {stage["name"]: stage for stage in planned["stages"]}
    return [
        {
            "stage": cost["name"],
            "seconds": round(cost["seconds"], 1),
            "planned": round(plan[cost["name"]]["seconds"], 1),
            "GB a task": round(cost["peak_memory_bytes"] / 1e9, 2),
            "planned GB": round(plan[cost["name"]]["memory_per_task_bytes"] / 1e9, 2),
        }
        for cost in run["stages"]
        if cost["name"] in plan
    ]


def _slopes(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the log-log slopes of seconds and memory between consecutive sizes, and from the first to the last."""
    pairs = list(pairwise(runs)) + ([(runs[0], runs[-1])] if len(runs) > 2 else [])
    return [
        {
            "from": small["rows"],
            "to": large["rows"],
            **{name: round(_slope(small, large, name), 2) for name in ("seconds", "peak GB")},
        }
        for small, large in pairs
    ]


def _slope(small: dict[str, Any], large: dict[str, Any], name: str) -> float:
    return math.log(large[name] / small[name]) / math.log(large["rows"] / small["rows"])


def filtering(*arguments: str) -> tuple[dict[str, Any], int]:
    """Return what the command printed as JSON, and the most memory that it and its descendants had together."""
    command = [sys.executable, "-m", "filtering", *arguments, "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    peak = [0]
    watcher = threading.Thread(target=_watch, args=(process, peak), daemon=True)
    watcher.start()
    told, _ = process.communicate()
    if process.returncode:
        sys.exit(f"filtering {arguments[0]} ended with status {process.returncode}")
    return json.loads(told), peak[0]


def family(root: int) -> set[int]:
    """Return a process and all that it started, as far as they run."""
    return _family(root, _statuses())


def _watch(process: "subprocess.Popen[str]", peak: list[int]) -> None:
    while process.poll() is None:
        peak[0] = max(peak[0], _family_bytes(process.pid))
        time.sleep(1)


def _family_bytes(root: int) -> int:
    """Return the anonymous and shared memory of a process and all that it started, in bytes."""
    status = _statuses()
    parts = ("RssAnon", "RssShmem")
    return 1024 * sum(status.get(pid, {}).get(name, 0) for pid in _family(root, status) for name in parts)


def _family(root: int, status: dict[int, dict[str, int]]) -> set[int]:
    found = {root}
    while grown := {pid for pid, fields in status.items() if fields.get("PPid") in found} - found:
        found |= grown
    return found


def _statuses() -> dict[int, dict[str, int]]:
    return {int(path.parent.name): _status(path) for path in Path("/proc").glob("[0-9]*/status")}


def _status(path: Path) -> dict[str, int]:
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return {}
    fields = (line.split(":", 1) for line in lines if line.startswith(("PPid", "RssAnon", "RssShmem")))
    return {name: int(value.split()[0]) for name, value in fields}


if __name__ == "__main__":
    raise SystemExit(main())
