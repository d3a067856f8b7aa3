"""What each method costs: seconds and memory of its scores and its selection, over one graph.

    python -m benchmarks.speed.methods --folder DIR [--rows 1000000] [--only NAME ...] [--json OUT] [--plot OUT]

Metadata of pool_like.py, 512 dimensions, keep 30 %, all CPUs. Embedding, concepts and graph are made once and not
counted. Scores that take images or captions of their own (dlc, metaclip, norm_sim with pictures) are not here: their
cost is that of reading and of the model.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import ray

from benchmarks.lib.tables import Row, add_outputs, print_table, write_outputs
from benchmarks.speed.scale import write_config
from filtering.config.run import parse_config
from filtering.pipeline import run as pipeline

D2 = {"method": "d2", "scale": "median", "messages": "mean"}
SELECTIONS: dict[str, dict[str, Any]] = {
    "random": {"method": "random"},
    "top": {"method": "top"},
    "top, budget pool": {"method": "top", "budget": "pool"},
    "threshold": {"method": "threshold"},
    "d2": {"method": "d2"},
    "d2, budget uniform": {"method": "d2", "budget": "uniform"},
    "d2, budget complexity": {"method": "d2", "budget": "complexity"},
    "d2, budget hierarchical": {"method": "d2", "budget": "hierarchical"},
    "d2 in strata of the pool": D2 | {"budget": "strata", "score": "uniform", "difficulty": "clip_score"},
    "d2 in strata of each concept": D2
    | {"budget": "strata", "score": "uniform", "difficulty": "clip_score", "scope": "concept"},
    "d2, 3 rounds": {"method": "d2", "rounds": 3},
    "ccs": {"method": "ccs"},
    "moderate": {"method": "moderate"},
    "semdedup": {"method": "semdedup"},
    "flexrand": {"method": "flexrand"},
    "density": {"method": "density"},
    "clip_powered": {"method": "clip_powered"},
    "hierarchical": {"method": "hierarchical"},
    "top by neg_clip_loss, 1 batching": {"method": "top", "score": {"neg_clip_loss": {"batchings": 1}}},
    "top by ranks of two scores": {
        "method": "top",
        "score": {"combine": {"of": [{"score": "clip_score"}, {"score": "sds"}], "by": "rank"}},
    },
}


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", required=True)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--only", nargs="+", choices=SELECTIONS, default=list(SELECTIONS))
    add_outputs(parser)
    given = parser.parse_args()
    config, _ = write_config(Path(given.folder), given.rows)
    settings = json.loads(config.read_text())
    # One Ray for all: its start is no method's cost.
    ray.init(address="local", include_dashboard=False, log_to_driver=False)
    # What all share; and d2 once for what is compiled at its first call.
    for selection in ({"method": "all"}, {"method": "d2", "keep": 0.1}):
        _run(settings, selection)
    rows = [_row(name, _run(settings, SELECTIONS[name]), given.rows) for name in given.only]
    print_table(rows)
    write_outputs(rows, given.json, given.plot)
    return 0


def _run(settings: dict[str, Any], selection: dict[str, Any]) -> dict[str, Any]:
    return pipeline.run(parse_config(settings | {"selection": {"keep": 0.3} | selection}))


def _row(name: str, run: dict[str, Any], rows: int) -> Row:
    costs = {kind: [cost for cost in run["stages"] if cost["name"] == kind] for kind in ("scores", "selection")}
    # A score that an earlier method made is read again, not computed: its record still says what it took.
    seconds = {kind: sum(cost["seconds"] for cost in found) for kind, found in costs.items()}
    million = 1e6 / rows
    return {
        "method": name,
        "seconds": round(sum(seconds.values()) * million, 2),
        "scores s": round(seconds["scores"] * million, 2),
        "selection s": round(seconds["selection"] * million, 2),
        "GB a task": round(max(cost["peak_memory_bytes"] for found in costs.values() for cost in found) / 1e9, 2),
        "kept": run["totals"]["kept"],
        "coverage": run["measures"]["coverage"]["selection"],
        "at random": run["measures"]["coverage"]["random"],
        "concepts in effect": run["measures"]["effective_concepts"]["selection"],
    }


if __name__ == "__main__":
    raise SystemExit(main())
