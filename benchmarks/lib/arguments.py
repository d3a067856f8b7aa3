"""The options that many benchmarks have."""

import argparse
import importlib.util
import sys

NO_MATPLOTLIB = "a plot needs matplotlib: uv pip install --editable '.[dev]'"


def parser_of(about: str) -> argparse.ArgumentParser:
    """Return a parser whose help begins with the first line of a script's docstring."""
    return argparse.ArgumentParser(description=about.splitlines()[0])


def add_outputs(parser: argparse.ArgumentParser, plot: str = "draw the seconds there") -> None:
    """Add `--json` and, unless there is nothing to draw, `--plot`."""
    parser.add_argument("--json", metavar="OUT", help="write the figures there as well")
    if plot:
        parser.add_argument("--plot", metavar="OUT", type=plot_path, help=f"{plot}: .png, .svg, .pdf")


def add_address(parser: argparse.ArgumentParser) -> None:
    """Add `--address`, the `ray.address` of every run of the benchmark."""
    parser.add_argument("--address", default="local", help="ray.address of the runs; local by default")


def plot_path(path: str) -> str:
    """Return the path of a plot, or exit before minutes of measuring if it cannot be drawn."""
    if importlib.util.find_spec("matplotlib") is None:
        sys.exit(NO_MATPLOTLIB)
    return path
