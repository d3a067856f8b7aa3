"""A small DataComp: what a model learns from the pairs that each filter keeps.

    python -m benchmarks.quality.pool --work DIR [--share 0.3] [--steps 500] [--seeds 3] [--only FILTER ...] [--table]

Builds a pool of Fashion-MNIST (Debian's package dataset-fashion-mnist) and OpenMoji with long tails, swapped captions,
near-duplicates and noise; trains a filtering model on clean pairs kept apart; keeps the same share by every filter of
filters.yaml, each a `filtering run`; trains a small CLIP from scratch on the kept pairs, for the same number of steps;
examines it on clean pictures kept apart. Steps whose result is in DIR are skipped.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.lib import fashion_mnist
from benchmarks.lib.arguments import add_address, add_outputs, parser_of
from benchmarks.lib.tables import print_table, write_outputs
from benchmarks.quality.pool.building import build
from benchmarks.quality.pool.captions import CLOTHES_AND_EMOJI
from benchmarks.quality.pool.filtering_model import STRONG, train_judge
from benchmarks.quality.pool.filters import FILTERS, named_filters
from benchmarks.quality.pool.grid import Grid, Settings
from benchmarks.quality.pool.report import plot, rows, split
from benchmarks.quality.pool.sources import Folders


def main(arguments: Sequence[str] | None = None) -> int:
    """Build, select, train, print."""
    given = _arguments(arguments)
    settings = Settings(given.work.resolve(), given.share, given.steps, range(given.seeds), given.address)
    settings.work.mkdir(parents=True, exist_ok=True)
    build(settings.work, Folders(fashion_mnist=given.fashion_mnist), scale=given.scale)
    train_judge(settings.work, settings.work, replace(STRONG, steps=given.judge_steps), CLOTHES_AND_EMOJI)
    grid, filters = Grid(settings), named_filters(given.filters, given.only)
    if not given.table:
        grid.run(filters, train=not given.select_only)
    table = rows(grid.results(filters), given.examine, len(grid.data.truth.uids))
    for part in split(table):
        if part:
            print_table(part)
            print()
    write_outputs(table, given.json)
    if given.plot:
        plot(table, given.plot)
    return 0


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = parser_of(__doc__)
    parser.add_argument("--work", type=Path, required=True, help="folder of the pool, the models and the results")
    parser.add_argument("--share", type=float, default=0.3, help="the share of the pool that each filter keeps")
    parser.add_argument("--steps", type=int, default=500, help="batches of 128 that each training sees")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--filters", type=Path, default=FILTERS, metavar="YAML", help="a list in place of filters.yaml")
    parser.add_argument("--only", nargs="+", metavar="FILTER", help="names of the list; all by default")
    parser.add_argument(
        "--examine", choices=("validation", "test"), default="test", help="which pictures the table is of"
    )
    parser.add_argument("--table", action="store_true", help="print the results there are, measure nothing")
    parser.add_argument("--select-only", action="store_true", help="print what each filter keeps, train nothing")
    parser.add_argument("--fashion-mnist", metavar="DIR", type=Path, default=fashion_mnist.FOLDER)
    parser.add_argument("--scale", type=float, default=1.0, help="share of the pairs and concepts of a new DIR")
    parser.add_argument("--judge-steps", type=int, default=STRONG.steps, help="batches of the filtering model")
    add_address(parser)
    add_outputs(parser, plot="draw the means there")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    raise SystemExit(main())
