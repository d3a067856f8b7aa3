"""Random damage to tars, images, npz, parquet, YAML and the folders of runs: how each input ends.

    python -m benchmarks.robustness.fuzz KIND... [--count N] [--seed S] [--seconds T] [--first N] [--json OUT]

Each kind (tar, image, npz, parquet, yaml, run) makes valid files of every form that is read, damages them (flipped
bits, cuts, parts of others, moved blocks, other numbers and lengths, another structure with right checksums) and reads
them by what the pipeline reads them with; a damaged run is read by the commands. Inputs are read in a process of their
own. An input is accepted, or refused for a reason in one line; RAW is any other exception, CRASH the end of the
process, SLOW more than 5 s of CPU, HUGE more than 1 GiB of memory, WRONG what was read as something that it is not.
The first of these are saved in --save DIR. Seed and number make an input again: --first NUMBER --count 1.
"""

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.lib.arguments import add_outputs, parser_of
from benchmarks.lib.tables import print_table, write_outputs
from benchmarks.robustness.fuzz.counting import Tally, tallied
from benchmarks.robustness.fuzz.worker import BAD

KINDS = {
    "tar": "tars.Tars",
    "image": "pictures.Pictures",
    "npz": "arrays.Npzs",
    "parquet": "parquets.Parquets",
    "yaml": "configurations.Configurations",
    "run": "runs.Runs",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Fuzz, print the counts, and return 1 if any input ended as none may."""
    given = _parser().parse_args(arguments)
    save = Path(given.save or tempfile.mkdtemp(prefix="fuzz-"))
    figures = []
    for name in given.kinds:
        with tempfile.TemporaryDirectory(prefix=f"fuzz-{name}-") as work:
            tally = Tally(name, save)
            tallied(tally, KINDS[name], Path(work), given)
        figures.append(tally.figures())
        print_kind(tally)
    print_table([{name: value for name, value in one.items() if name != "reasons"} for one in figures])
    write_outputs(figures, given.json)
    return int(any(one[name] for one in figures for name in BAD))


def _parser() -> argparse.ArgumentParser:
    parser = parser_of(__doc__)
    parser.add_argument("kinds", nargs="+", choices=[*KINDS], metavar="KIND", help=", ".join(KINDS))
    parser.add_argument("--count", type=int, default=1000, help="inputs of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop each kind after that time")
    parser.add_argument("--first", type=int, default=0, help="the number of the first input")
    parser.add_argument("--save", metavar="DIR", help="where bad inputs are saved; a temporary folder by default")
    add_outputs(parser, plot="")
    return parser


def print_kind(tally: Tally) -> None:
    """Print how often inputs of a kind came to each reason, and what was bad."""
    for reason, count in sorted(tally.reasons.items(), key=lambda pair: -pair[1]):
        print(f"  {tally.name}  {count:>7,}  {reason}")
    for line in tally.bad:
        print(f"  {line}")
    print(flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
