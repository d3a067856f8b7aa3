"""A small DataComp of our own: what a model learns from the pairs that each filter keeps.

    python -m benchmarks.quality.pool --work DIR [--share 0.3] [--steps 500] [--seeds 3] [--only FILTER ...] [--table]

Builds a pool of Fashion-MNIST (Debian's package dataset-fashion-mnist) and OpenMoji with long tails, swapped captions,
near-duplicates and noise; trains a filtering model on clean pairs kept apart; keeps the same share by every filter of
filters.yaml, each a `filtering run`; trains a small CLIP from scratch on what was kept, for the same number of steps;
examines it on clean pictures kept apart. What DIR has already is not done again.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.lib.tables import print_table, write_outputs

# The table that all benchmarks share.
from benchmarks.quality.pool.building import build
from benchmarks.quality.pool.filtering_model import train_judge
from benchmarks.quality.pool.filters import FILTERS, Filter, all_filters
from benchmarks.quality.pool.grid import Grid, Settings
from benchmarks.quality.pool.report import plot, rows, split
from benchmarks.quality.pool.sources import FASHION_MNIST


def main() -> int:
    """Build, select, train, print."""
    given = _arguments()
    settings = Settings(given.work.resolve(), given.share, given.steps, range(given.seeds))
    settings.work.mkdir(parents=True, exist_ok=True)
    build(settings.work, given.fashion_mnist)
    train_judge(settings.work)
    grid, filters = Grid(settings), _named(given.filters, given.only)
    if not given.table:
        grid.run(filters, train=not given.select_only)
    table = rows(grid.results(filters), given.examine, len(grid.truth.uids))
    for part in split(table):
        if part:
            print_table(part)
            print()
    write_outputs(table, given.json, None)
    if given.plot:
        plot(table, given.plot)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder for everything that is made")
    parser.add_argument("--share", type=float, default=0.3, help="the share of the pool that each filter keeps")
    parser.add_argument("--steps", type=int, default=500, help="batches of 128 that each training sees")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--filters", type=Path, default=FILTERS, metavar="YAML", help="another list than filters.yaml")
    parser.add_argument("--only", nargs="+", metavar="FILTER", help="names of the list; all unless given")
    parser.add_argument(
        "--examine", choices=("validation", "test"), default="test", help="which pictures the table is of"
    )
    parser.add_argument("--table", action="store_true", help="print what is measured, measure nothing")
    parser.add_argument("--select-only", action="store_true", help="tell what each filter would keep, train nothing")
    parser.add_argument("--fashion-mnist", metavar="DIR", default=FASHION_MNIST)
    parser.add_argument("--json", metavar="OUT", help="write the table there, too")
    parser.add_argument("--plot", metavar="OUT", help="draw the means there: .png, .svg, .pdf")
    return parser.parse_args()


def _named(path: Path, names: Sequence[str] | None) -> list[Filter]:
    filters = all_filters(path)
    if unknown := set(names or ()) - {chosen.name for chosen in filters}:
        sys.exit(f"{path} has no {', '.join(sorted(unknown))}")
    return [chosen for chosen in filters if names is None or chosen.name in names]


if __name__ == "__main__":
    raise SystemExit(main())
