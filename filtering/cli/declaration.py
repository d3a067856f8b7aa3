"""What a module of this folder declares to be a command, and the arguments that several commands have."""

import argparse
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

# The exit status of a command that was stopped, as shells have it.
INTERRUPTED = 130
LATEST_HELP = "ROOT/latest is the newest verified run in ROOT"
Argument = Callable[[argparse.ArgumentParser], None]


@dataclass(frozen=True, slots=True)
class Command:
    """A command; its name is also that of its module."""

    name: str
    # What it does, in a line that begins with a verb.
    help: str
    # Complete command lines, for --help, and the text below them.
    examples: tuple[str, ...]
    arguments: tuple[Argument, ...]
    # Does it and returns the exit status. It imports what it needs: importing all would take seconds.
    body: Callable[[argparse.Namespace], int]
    notes: str = ""
    # The work that the same command resumes after it was stopped; empty if it starts anew.
    resumes: str = ""


def argument(*names: str, completed: Callable[[], Iterable[str]] | None = None, **settings: Any) -> Argument:
    """Return an argument as `ArgumentParser.add_argument` takes it; the shell completes it with `completed()`."""

    def add(parser: argparse.ArgumentParser) -> None:
        parser.add_argument(*names, **settings).names = completed  # type: ignore[attr-defined]

    return add


RUN = argument("run", metavar="RUN", help=f"the run's directory, a path or a URL; {LATEST_HELP}")
# A run's configuration and overrides of its keys.
CONFIG = (
    argument("--config", required=True, metavar="FILE", help="the run's YAML file, a path or a URL"),
    argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        dest="overrides",
        help="override a key, such as selection.keep=0.3; may be repeated",
    ),
)
INTO_EXISTING = argument(
    "--into-existing",
    action="store_true",
    help="write into a folder that holds files of others; they stay as they are, and none is overwritten",
)


def count(text: str) -> int:
    """Return a whole number of at least 1, which may be written as 12.8e9."""
    number = amount(text)
    if not 1 <= number < 1e15:
        raise argparse.ArgumentTypeError(f"{text} is not a number of at least 1")
    return int(number)


def rate(text: str) -> float:
    """Return a number above 0."""
    number = amount(text)
    if not 0 < number < 1e15:
        raise argparse.ArgumentTypeError(f"{text} is not a number above 0")
    return number


def amount(text: str) -> float:
    """Return a number."""
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is not a number") from None
