"""The command line: which trainings are run, and what is told of them."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from benchmarks.lib.tables import print_table
from benchmarks.quality.coreset.methods import METHODS
from benchmarks.quality.coreset.report import Figure, draw, plot_path, rows_of, write_json
from benchmarks.quality.coreset.trainings import Training, run_all
from benchmarks.quality.coreset.tuned import chosen, knobs_of, write_chosen
from benchmarks.quality.coreset.tuning import DROPS, Tuning

RATES = tuple(DROPS)
ITERATIONS = 1_200


def main(about: str) -> int:
    """Tune, or measure on the test and print."""
    parser = _parser(about.splitlines()[0])
    given = parser.parse_args()
    given.cache.mkdir(parents=True, exist_ok=True)
    if given.tune:
        _tune(given)
    else:
        _measure(given)
    return 0


def _parser(about: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--cache", metavar="DIR", type=Path, required=True, help="scores, coresets, trainings")
    parser.add_argument("--tune", action="store_true", help="choose hyper-parameters on held-out training images")
    parser.add_argument("--methods", metavar="NAME", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--rates", metavar="RATE", nargs="+", type=float, choices=RATES, default=RATES)
    parser.add_argument("--seeds", type=int, help="trainings a coreset, 3; 2 with --tune")
    parser.add_argument("--iterations", type=int, default=ITERATIONS)
    parser.add_argument("--workers", type=int, default=1, help="trainings at the same time")
    parser.add_argument("--json", metavar="OUT", help="write the figures there, too")
    parser.add_argument("--plot", metavar="OUT", type=plot_path, help="draw them there: .png, .svg, .pdf")
    return parser


def _tune(given: argparse.Namespace) -> None:
    tuning = Tuning(given.methods, given.rates, given.seeds or 2, given.iterations, given.cache, given.workers)
    found = tuning.chosen()
    known = chosen(given.cache)
    for method, rates in found.items():
        known[method] = {**known.get(method, {}), **rates}
        print_table([{"tuned": f"{method}, {rate}", "knobs": str(knobs)} for rate, knobs in rates.items()])
    write_chosen(given.cache, known)


def _measure(given: argparse.Namespace) -> None:
    values = chosen(given.cache)
    cells = [(method, rate, knobs_of(values, method, rate)) for method in given.methods for rate in given.rates]
    seeds = range(given.seeds or 3)
    by_seed = [Training("test", *cell[:2], seed, cell[2], given.iterations) for seed in seeds for cell in cells]
    done = run_all(by_seed, given.cache, given.workers)
    figures = [
        Figure(*cell, tuple(done[Training("test", *cell[:2], seed, cell[2], given.iterations).key] for seed in seeds))
        for cell in cells
    ]
    _tell(figures, given.json, given.plot)


def _tell(figures: Sequence[Figure], json_path: str | None, plot_to: str | None) -> None:
    print_table(rows_of(figures))
    if json_path:
        write_json(figures, json_path)
    if plot_to:
        draw(figures, plot_to)
