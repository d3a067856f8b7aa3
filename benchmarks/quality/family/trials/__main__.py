"""What was tried for the default, and left out: other picks and budgets, and other ways to learn P(right).

    python -m benchmarks.quality.family.trials --work DIR [--keeps 0.1 0.3] [--seeds N] [--only NAME ...] [--json FILE]
    python -m benchmarks.quality.family.trials --work DIR --model weak --only default "no fit" "right, caption length"

On the pool `base`, as one filtering model judges it, one run of the default is the input; a trial changes one thing of
it, in memory. What it picks is trained on and examined on validation pictures alone: no test picture is read, nor any
other pool. Trials of P(right) train nothing; the truth judges them. A finished training is a line of DIR/trials.jsonl
and is not repeated.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

from benchmarks.lib.arguments import add_outputs, parser_of
from benchmarks.lib.tables import Row, print_table, write_outputs
from benchmarks.quality.family.cells import Cell
from benchmarks.quality.family.family import training_key
from benchmarks.quality.family.options import add_places, judge_of, workshop_of
from benchmarks.quality.family.summary import accuracy_rows, cell_figures
from benchmarks.quality.family.trials.arrays import PoolArrays, pool_arrays
from benchmarks.quality.family.trials.picks import PICKS
from benchmarks.quality.family.trials.probabilities import PROBABILITIES, figures
from benchmarks.quality.pool.filtering_model import JUDGES, STRONG
from benchmarks.quality.pool.measuring import PoolData, Result, TrainingLog
from benchmarks.quality.pool.selecting import digest_of
from benchmarks.quality.pool.settings import BASE

LOG, PART = "trials.jsonl", "validation"
TRIALS = (*PICKS, *PROBABILITIES)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the default once, then try, and print."""
    given = arguments_of(arguments)
    workshop, judge = workshop_of(given), judge_of(given, given.model)
    workshop.make(BASE, judge)
    place = workshop.place(BASE, judge)
    data = PoolData(place.pool, BASE)
    pool = pool_arrays(place, data.truth)
    rows = [{"trial": name, **figures(pool, PROBABILITIES[name](pool))} for name in given.only if name in PROBABILITIES]
    _print(rows)
    found: dict[Cell, dict[str, list[Result]]] = {Cell(BASE, judge, keep): {} for keep in given.keeps}
    for keep, name, result in _trained(given, data, pool):
        found[Cell(BASE, judge, keep)].setdefault(name, []).append(result)
    cells = cell_figures(found, PART)
    _print(accuracy_rows(cells))
    write_outputs({"examined": PART, "picks": cells, "probabilities": rows}, given.json)
    return 0


def _print(rows: Sequence[Row]) -> None:
    if rows:
        print_table(rows)
        print()


def arguments_of(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options, or exit where `--only` names no trial."""
    parser = parser_of(__doc__)
    add_places(parser)
    parser.add_argument("--model", choices=JUDGES, default=STRONG.name, help="the filtering model")
    parser.add_argument("--keeps", nargs="+", type=float, default=[0.1, 0.3], metavar="SHARE")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--steps", type=int, default=500, help="batches of 128 that each training sees")
    parser.add_argument(
        "--only", nargs="+", metavar="NAME", default=list(TRIALS), help="names of trials; all by default"
    )
    add_outputs(parser, plot="")
    given = parser.parse_args(arguments)
    if unknown := [name for name in given.only if name not in TRIALS]:
        sys.exit(f"--only: no trial is called {unknown[0]}; there are: {'; '.join(TRIALS)}")
    return given


def _trained(given: argparse.Namespace, data: PoolData, pool: PoolArrays) -> Iterator[tuple[float, str, Result]]:
    """Train on what each trial keeps, unless that has been done; all trials with one seed before the next."""
    log = TrainingLog(Path(given.work) / LOG)
    known = log.results()

    @cache
    def kept(name: str, keep: float) -> list[str]:
        return sorted(pool.uids[PICKS[name](pool, round(keep * len(pool.uids)))].astype(str).tolist())

    for seed in range(given.seeds):
        for keep in given.keeps:
            for name in (one for one in given.only if one in PICKS):
                uids = kept(name, keep)
                key = training_key(BASE, given.scale, given.steps, seed, digest_of(uids))
                if key not in known:
                    measured = data.measured(uids, given.steps, seed, [PART])
                    known[key] = {"key": key, "trial": name, "keep": keep, "seed": seed, **measured}
                    log.append(known[key])
                    print(f"seed {seed}, {100 * keep:g} %, {name}: {measured[PART]['mean']:.1f}", flush=True)
                yield keep, name, known[key]


if __name__ == "__main__":
    raise SystemExit(main())
