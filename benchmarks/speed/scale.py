"""Whole runs over pools of growing size: seconds of each stage against the plan, memory, recall and growth.

    python -m benchmarks.speed.scale --rows 100000 1000000 12800000 --folder DIR [--json OUT] [--plot OUT]
    python -m benchmarks.speed.scale --folder DIR --set selection.variant=paper --set selection.score=clip_score

The second is D2 as published. The pools of benchmarks/lib/pool_like.py are kept in DIR (27 GB for 12.8 million rows
of 512 dimensions; a run of that size takes 45 GB more at its peak). Memory is the sum of the anonymous and shared
memory of all processes of a run, Ray's included, sampled every second. It leaves out pages of mapped files, which the
system takes back when it needs them.
"""

import math
import shutil
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from benchmarks.lib import runs
from benchmarks.lib.arguments import add_address, add_outputs, parser_of
from benchmarks.lib.tables import Row, print_table, write_outputs
from benchmarks.lib.timing import timed


def main(arguments: Sequence[str] | None = None) -> int:
    """Run and print."""
    parser = parser_of(__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--dimension", type=int, default=512, help="of the vectors")
    parser.add_argument("--folder", required=True, help="where pools and runs are kept")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="of the configuration")
    add_address(parser)
    add_outputs(parser)
    given = parser.parse_args(arguments)
    options = [part for one in given.set for part in ("--set", one)]
    configs = [
        runs.write_config(Path(given.folder), rows, given.address, given.dimension) for rows in sorted(given.rows)
    ]
    found = [_measured(rows, *config, options) for rows, config in zip(sorted(given.rows), configs, strict=True)]
    for run in found:
        figures = f"recall@10 {run['recall']}, {run['replicas']} replicas a row, manifest {run['hash']}"
        print(f"\n{run['rows']:,} rows: {figures}")
        print_table(run["stages"])
    print()
    totals = [{key: value for key, value in run.items() if key not in ("stages", "hash")} for run in found]
    print_table(totals)
    if len(found) > 1:
        print_table(_slopes(found))
    write_outputs(totals, given.json, given.plot)
    return 0


def _measured(rows: int, config: Path, out: Path, options: Sequence[str]) -> Row:
    shutil.rmtree(out, ignore_errors=True)
    planned, _ = runs.filtering("plan", "--config", str(config), *options)
    seconds, (run, memory) = timed(lambda: runs.filtering("run", "--config", str(config), *options))
    runs.filtering("verify", str(out))
    return {
        "rows": rows,
        "seconds": round(seconds, 1),
        "planned": planned["seconds"],
        "planned / measured": round(planned["seconds"] / seconds, 2),
        "peak GB": round(memory / 1e9, 2),
        "recall": run["recall"],
        "replicas": round(run["graph"]["guests"] / rows, 2),
        "distances / N^2": run["graph"]["share_of_brute_force"],
        "hash": run["manifest_hash"][:16],
        "stages": _stages(run, planned),
    }


def _stages(run: Row, planned: Row) -> list[Row]:
    """Return each stage's seconds and the memory of its largest task beside the plan's; several of a name in one."""
    costs: dict[str, list[Row]] = {}
    for cost in run["stages"]:
        costs.setdefault(cost["name"], []).append(cost)
    return [
        {
            "stage": plan["name"],
            "seconds": round(sum(cost["seconds"] for cost in costs[plan["name"]]), 1),
            "planned": round(plan["seconds"], 1),
            "GB a task": round(max(cost["peak_memory_bytes"] for cost in costs[plan["name"]]) / 1e9, 2),
            "planned GB": round(plan["memory_per_task_bytes"] / 1e9, 2),
        }
        for plan in planned["stages"]
        if plan["name"] in costs
    ]


def _slopes(found: Sequence[Row]) -> list[Row]:
    """Return the log-log slopes of seconds and memory between consecutive sizes, and from the first to the last."""
    pairs = list(pairwise(found)) + ([(found[0], found[-1])] if len(found) > 2 else [])
    return [
        {
            "from": small["rows"],
            "to": large["rows"],
            **{name: round(_slope(small, large, name), 2) for name in ("seconds", "peak GB")},
        }
        for small, large in pairs
    ]


def _slope(small: Row, large: Row, name: str) -> float:
    return math.log(large[name] / small[name]) / math.log(large["rows"] / small["rows"])


if __name__ == "__main__":
    raise SystemExit(main())
