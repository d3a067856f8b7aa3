"""The cost of each method: seconds and memory of its scores and its selection, over one graph.

    python -m benchmarks.speed.methods --folder DIR [--rows 1000000] [--only NAME ...] [--json OUT] [--plot OUT]

Pool-like metadata of 512 dimensions, keep 30 %, all CPUs. Embedding, concepts and the graphs of images and of captions
are computed once and not counted. Scores that read images or captions again (dlc, metaclip, norm_sim with pictures) are
left out: reading and the model decide their cost.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.lib import runs
from benchmarks.lib.arguments import add_address, add_outputs, parser_of
from benchmarks.lib.tables import Row, print_table, write_outputs
from filtering.config.run import parse_config
from filtering.pipeline import run as pipeline
from filtering.runtime.run_record import RunRecord

PAPER = {"method": "d2", "variant": "paper"}
D2 = {"method": "d2", "scale": "median", "messages": "mean"}
SELECTIONS: dict[str, dict[str, Any]] = {
    # P(right) with its graph of captions, and what `method: auto` makes of it.
    "default": {},
    "top by right": {"method": "top", "score": "right"},
    "top by right, images alone": {"method": "top", "score": {"right": {"neighbours": "images"}}},
    "random": {"method": "random"},
    "top": {"method": "top"},
    "top, budget pool": {"method": "top", "budget": "pool"},
    "threshold": {"method": "threshold"},
    "d2": PAPER,
    "d2, budget uniform": PAPER | {"budget": "uniform"},
    "d2, budget complexity": PAPER | {"budget": "complexity"},
    "d2, budget hierarchical": PAPER | {"budget": "hierarchical"},
    "d2, expected novelty": {"method": "d2", "variant": "novelty", "score": "uniform"},
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


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = parser_of(__doc__)
    parser.add_argument("--folder", required=True, help="where the pool and the run are kept")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--only", nargs="+", choices=SELECTIONS, default=list(SELECTIONS), metavar="NAME")
    add_address(parser)
    add_outputs(parser)
    given = parser.parse_args(arguments)
    config, _ = runs.write_config(Path(given.folder), given.rows, given.address)
    settings = json.loads(config.read_text())
    # One Ray for all runs: no method is charged for its start.
    runs.start_ray(given.address)
    # The stages that all methods share; and d2 once, for the functions that are compiled at their first call.
    for selection in ({"method": "all"}, {**PAPER, "keep": 0.1}):
        _run(settings, selection)
    rows = [_row(name, _run(settings, SELECTIONS[name]), given.rows) for name in given.only]
    print_table(rows)
    write_outputs(rows, given.json, given.plot)
    return 0


def _run(settings: dict[str, Any], selection: dict[str, Any]) -> RunRecord:
    return pipeline.run(parse_config(settings | {"selection": {"keep": 0.3} | selection}))


def _row(name: str, run: RunRecord, rows: int) -> Row:
    costs = {kind: [cost for cost in run["stages"] if cost["name"] == kind] for kind in ("scores", "selection")}
    # A score that an earlier method computed is read again; its record still holds its seconds.
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
