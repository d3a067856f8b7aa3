"""What a module of this folder declares to be a command, and the arguments that several commands have."""

import argparse
from collections.abc import Callable, Iterable
from dataclasses import dataclass

# The exit status of a command that was stopped, as shells have it.
INTERRUPTED = 130
LATEST_HELP = "ROOT/latest is the newest verified run in ROOT"
RUN_HELP = f"the run's directory, a path or a URL; {LATEST_HELP}"


@dataclass(frozen=True, slots=True)
class Command:
    """A command.

    Attributes
    ----------
    name : as it is typed; also the name of its module.
    help : what it does, in a line that begins with a verb.
    examples : complete command lines, for --help.
    options : adds its arguments to its parser.
    body : does it and returns the exit status. It imports what it needs: importing all would take seconds.
    notes : text below the examples.
    resumes : the work that the same command resumes after it was stopped; empty if it starts anew.
    """

    name: str
    help: str
    examples: tuple[str, ...]
    options: Callable[[argparse.ArgumentParser], None]
    body: Callable[[argparse.Namespace], int]
    notes: str = ""
    resumes: str = ""


def add_run(parser: argparse.ArgumentParser) -> None:
    """Add the run that a command reads."""
    parser.add_argument("run", metavar="RUN", help=RUN_HELP)


def add_config(parser: argparse.ArgumentParser) -> None:
    """Add a run's configuration and overrides of its keys."""
    parser.add_argument("--config", required=True, metavar="FILE", help="the run's YAML file, a path or a URL")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        dest="overrides",
        help="override a key, such as selection.keep=0.3; may be repeated",
    )


def complete(argument: argparse.Action, names: Callable[[], Iterable[str]]) -> None:
    """Have the shell complete an argument with these names, which are asked for only then."""
    argument.names = names  # type: ignore[attr-defined]


def count(text: str) -> int:
    """Return a whole number of at least 1, which may be written as 12.8e9."""
    number = amount(text)
    if not 1 <= number < 1e15:
        raise argparse.ArgumentTypeError(f"{text} is not a number of at least 1")
    return int(number)


def amount(text: str) -> float:
    """Return a number."""
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is not a number") from None
