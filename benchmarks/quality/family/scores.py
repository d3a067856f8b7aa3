"""How well each score tells right captions from wrong ones in every pool, by every filtering model.

    python -m benchmarks.quality.family.scores --work DIR [--pools ...] [--models ...] [--scores YAML] [--json OUT]

Of each score of scores.yaml, a run's: the AUC of right pairs against pairs with another thing's caption, over all, in
classes and in concepts, and against noise. Of probabilities besides: the expected calibration error in 15 bins, and the
share of wrong pairs that they say and that there is. Builds what `python -m benchmarks.quality.family` has not built.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml

from benchmarks.lib.arguments import add_outputs, parser_of
from benchmarks.lib.judgement import calibration_error
from benchmarks.lib.tables import Row, print_table, write_outputs
from benchmarks.quality.family.options import add_workshop, judges_of, workshop_of
from benchmarks.quality.pool.selecting import Place, configured, run_stages
from benchmarks.quality.pool.settings import POOLS
from benchmarks.quality.pool.truth import Truth
from filtering.config.run import Config
from filtering.core.errors import FilteringError
from filtering.embedding.artifacts import EmbeddedShard
from filtering.filters.artifacts import PassingShard
from filtering.runtime.finished_run import read_base
from filtering.scores.artifacts import read_scores
from filtering.scores.right import auc
from filtering.storage.store import Store

SCORES = Path(__file__).with_name("scores.yaml")
Float64 = npt.NDArray[np.float64]


def main(arguments: Sequence[str] | None = None) -> int:
    """Score every pool by every model, and print."""
    given = _arguments(arguments)
    workshop, rows = workshop_of(given), list[Row]()
    scores: dict[str, Any] = yaml.safe_load(given.scores.read_text())
    for pool in (POOLS[name] for name in given.pools):
        for judge in judges_of(given):
            workshop.make(pool, judge)
            place = workshop.place(pool, judge)
            truth = Truth(place.pool / "truth.parquet")
            cell = {"pool": pool.name, "model": judge.name}
            rows += [{**cell, **figures} for figures in _figures(place, truth, scores)]
    print_table(rows)
    write_outputs(rows, given.json)
    return 0


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = parser_of(__doc__)
    add_workshop(parser)
    parser.add_argument("--scores", type=Path, default=SCORES, metavar="YAML", help="a list in place of scores.yaml")
    add_outputs(parser, plot="")
    return parser.parse_args(arguments)


def _figures(place: Place, truth: Truth, scores: Mapping[str, Any]) -> list[Row]:
    rows = []
    for name, given in scores.items():
        try:
            found = scored(place, truth, given["score"])
        except FilteringError as error:
            print(f"{name}: skipped ({error})", flush=True)
            continue
        probable = _calibration(found, truth) if given.get("probability") else {}
        rows.append({"score": name, **_separation(found, truth), **probable})
    return rows


def scored(place: Place, truth: Truth, score: Any) -> Float64:
    """Return a run's score of every pair, float64 (n,), in the order of the truth.

    Raises
    ------
    InputError
        If this version of the package has no such score.
    """
    selection = {"method": "top", "score": score, "keep": 1.0, "budget": "pool"}
    config = configured(place, {"selection": selection})
    run_stages(config)
    found = _read_scores(config)
    return np.array([found[uid] for uid in truth.uids.tolist()])


def _read_scores(config: Config) -> dict[str, float]:
    """Return the scores of a finished run by uid."""
    base = read_base(Store(config.output))
    found: dict[str, float] = {}
    for shard in base.shards:
        passing = PassingShard(EmbeddedShard(shard, base.store("embedding")), base.store("filters"))
        uids = [uid.decode() for uid in passing.uids(passing.rows()).tolist()]
        found |= zip(uids, read_scores(base.store("scores"), shard.identity).tolist(), strict=True)
    return found


def _separation(scores: Float64, truth: Truth) -> Row:
    wrong = truth.mismatched
    apart = {
        "AUC": (truth.right, wrong),
        "AUC classes": (truth.right & truth.clothes, wrong & truth.clothes),
        "AUC concepts": (truth.right & ~truth.clothes, wrong & ~truth.clothes),
        "AUC shared wrong": (truth.right, wrong & (truth.kind != "swapped")),
        "AUC noise": (truth.right, ~truth.right & ~wrong),
    }
    return {name: round(auc(scores[a], scores[b]), 4) for name, (a, b) in apart.items() if a.any() and b.any()}


def _calibration(probability: Float64, truth: Truth) -> Row:
    return {
        "ECE": round(calibration_error(probability, truth.right), 4),
        "wrong, said": round(float(1 - probability.mean()), 4),
        "wrong, true": round(float(1 - truth.right.mean()), 4),
    }


if __name__ == "__main__":
    raise SystemExit(main())
