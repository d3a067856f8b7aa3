"""The commands: a name here is the module of this folder that declares the command."""

from functools import cache
from importlib import import_module

from filtering.cli.declaration import Command

# In the order of --help.
NAMES = (
    "demo",
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


@cache
def commands() -> dict[str, Command]:
    """Return every command by its name."""
    return {name: import_module(f"filtering.cli.{name}").COMMAND for name in NAMES}
