"""Many pools, filtering models and keep rates: what each method is worth where nothing was tuned to it.

    python -m benchmarks.quality.family --work DIR [--pools ...] [--models ...] [--keeps ...] [--only METHOD ...]
    python -m benchmarks.quality.family --work DIR --seeds 3 --table [--plot OUT.png] [--examine validation|test]
    python -m benchmarks.quality.family --work DIR --variants

Builds the pools of `benchmarks/quality/pool/settings.py` and trains two filtering models, keeps the same share by every
method of methods.yaml, trains the same small CLIP on what was kept and examines it on clean pictures. Needs Debian's
packages dataset-fashion-mnist and openclipart-svg. What is in DIR already is not done again: a run that was stopped
goes on where it was, less one training. `--variants` compares those of variants.yaml, on the validation pictures of the
pool `base` alone.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.lib.arguments import add_outputs, parser_of
from benchmarks.lib.tables import print_table, write_outputs
from benchmarks.quality.family.cells import KEEPS
from benchmarks.quality.family.family import Compared, Family
from benchmarks.quality.family.options import add_workshop, judges_of, workshop_of
from benchmarks.quality.family.plot import plot
from benchmarks.quality.family.summary import Figures, accuracy_rows, cell_figures, method_figures
from benchmarks.quality.pool.filters import Filter, named_filters
from benchmarks.quality.pool.settings import BASE, POOLS

METHODS, VARIANTS = (Path(__file__).with_name(name) for name in ("methods.yaml", "variants.yaml"))


def main(arguments: Sequence[str] | None = None) -> int:
    """Build, select, train, print."""
    given = _arguments(arguments)
    part = _part(given)
    family = Family(workshop_of(given), _compared(given))
    if not given.table:
        family.run()
    cells = cell_figures(family.results(), part)
    methods = method_figures(cells)
    _print(cells)
    print_table(methods)
    write_outputs({"examined": part, "cells": cells, "methods": methods}, given.json)
    if given.plot:
        plot(cells, given.plot)
    return 0


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = parser_of(__doc__)
    add_workshop(parser)
    parser.add_argument("--keeps", nargs="+", type=float, default=list(KEEPS), metavar="SHARE")
    parser.add_argument("--only", nargs="+", metavar="METHOD", help="names of methods.yaml; all by default")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--steps", type=int, default=500, help="batches of 128 that each training sees")
    parser.add_argument("--methods", type=Path, default=METHODS, metavar="YAML", help="a list in place of methods.yaml")
    parser.add_argument("--variants", action="store_true", help="compare variants.yaml on base's validation pictures")
    parser.add_argument("--table", action="store_true", help="print the results there are, measure nothing")
    parser.add_argument("--examine", choices=("validation", "test"), help="which pictures the table is of; test")
    add_outputs(parser, plot="draw accuracy against the keep rate there")
    return parser.parse_args(arguments)


def _part(given: argparse.Namespace) -> str:
    if not given.variants:
        return given.examine or "test"
    if given.examine == "test":
        sys.exit("--variants are compared on validation pictures alone; leave out --examine test")
    return "validation"


def _compared(given: argparse.Namespace) -> Compared:
    pools = [BASE] if given.variants else [POOLS[name] for name in given.pools]
    return Compared(pools, judges_of(given), given.keeps, _methods(given), range(given.seeds), given.steps)


def _methods(given: argparse.Namespace) -> list[Filter]:
    return named_filters(VARIANTS if given.variants else given.methods, given.only)


def _print(cells: Sequence[Figures]) -> None:
    for pool, model in dict.fromkeys((cell["pool"], cell["model"]) for cell in cells):
        print(f"{pool}, {model} filtering model")
        print_table(accuracy_rows([cell for cell in cells if (cell["pool"], cell["model"]) == (pool, model)]))
        print()


if __name__ == "__main__":
    raise SystemExit(main())
