"""Scripts with which a shell completes the command line: they hold all names, so that Tab starts no Python."""

from collections.abc import Callable, Mapping

import shtab

from filtering.cli.parser import FORMATS, SHELLS, new_parser
from filtering.cli.suggestions import Parser
from filtering.config.validation import nearest
from filtering.core.errors import InputError

# What an argument takes, by what --help calls it.
FILES = {"FILE": shtab.FILE, "DIR": shtab.DIRECTORY, "RUN": shtab.DIRECTORY, "URL": shtab.DIRECTORY}


def completion(shell: str) -> str:
    """Return the script for a shell.

    Raises
    ------
    InputError
        If there is none for it, naming the nearest.
    """
    if shell not in SHELLS:
        raise InputError(f"completion: unknown shell {shell}{nearest(shell, SHELLS)}")
    parser = new_parser()
    for one in parser.verbs().values():
        _complete(one)
    return shtab.complete(parser, shell).rstrip("\n")


def _complete(parser: Parser) -> None:
    """Say of every argument what may be typed there."""
    for action in parser._actions:
        wanted = str(action.metavar or "").partition("_")[0]
        if wanted in NAMES:
            action.choices = NAMES[wanted]()
        elif wanted in FILES:
            action.complete = FILES[wanted]  # type: ignore[attr-defined]


def _method_names() -> tuple[str, ...]:
    from filtering.selection.methods import methods

    return tuple(sorted({entry["name"] for entry in methods()}))


NAMES: Mapping[str, Callable[[], tuple[str, ...]]] = {
    "F": lambda: FORMATS,
    "NAME": _method_names,
    "SHELL": lambda: SHELLS,
}
