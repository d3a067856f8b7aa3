"""The commands, the parser of the whole command line, and its --help."""

import argparse
from functools import cache
from importlib import import_module

import filtering
from filtering.cli.declaration import Command
from filtering.cli.suggestions import Parser

# In the order of --help; a name is the module of this folder that declares the command.
NAMES = (
    "demo",
    "init",
    "plan",
    "run",
    "status",
    "report",
    "explain",
    "verify",
    "diff",
    "export",
    "methods",
    "completion",
)
EPILOG = """\
`filtering` without arguments suggests what to do next here.
`filtering COMMAND --help` shows the arguments of a command and an example.
`filtering completion --help` explains how to complete commands, options and names with Tab.
"""


@cache
def commands() -> dict[str, Command]:
    """Return every command by its name."""
    return {name: import_module(f"filtering.cli.{name}").COMMAND for name in NAMES}


def new_parser() -> Parser:
    """Return the parser of the whole command line; what it parses has the command's name as `command`."""
    parser = Parser(
        prog="filtering",
        description="Decide which image-text pairs a multimodal model is trained on.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=filtering.__version__)
    added = parser.add_subparsers(title="commands", required=True, metavar="COMMAND", dest="command")
    for command in commands().values():
        _add(added, command)
    return parser


def _add(added: "argparse._SubParsersAction[Parser]", command: Command) -> None:
    examples = ("\n" + " " * len("Example: ")).join(command.examples)
    parser = added.add_parser(
        command.name,
        help=command.help,
        description=f"{command.help[0].upper()}{command.help[1:]}.",
        epilog=f"Example: {examples}\n" + (f"\n{command.notes}" if command.notes else ""),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for add in command.arguments:
        add(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object, and nothing else, on stdout")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
