"""`filtering completion`: scripts with which a shell completes the command line, without starting Python."""

import argparse

from filtering.cli.declaration import Command, argument
from filtering.cli.output import print_result

SHELLS = ("bash", "zsh", "fish")
# What completes an argument, by its name in --help.
FILES = ("FILE",)
DIRECTORIES = ("DIR", "RUN", "RUN_A", "RUN_B", "URL")
NOTES = """\
To enable it:
  bash   filtering completion bash > ~/.local/share/bash-completion/completions/filtering
         (without bash-completion: > ~/.filtering-completion, and source that file in ~/.bashrc)
  zsh    filtering completion zsh > ~/.zfunc/_filtering      (with fpath+=~/.zfunc before compinit in ~/.zshrc)
  fish   filtering completion fish > ~/.config/fish/completions/filtering.fish
"""


def _completion(given: argparse.Namespace) -> int:
    script = completion(given.shell)
    return print_result(given, {"shell": given.shell, "script": script}, lambda: [script])


def completion(shell: str) -> str:
    """Return the script for a shell; InputError that names the nearest shell if there is none."""
    import shtab

    from filtering.cli.parser import new_parser
    from filtering.config.validation import nearest
    from filtering.core.errors import InputError

    if shell not in SHELLS:
        raise InputError(f"completion: unknown shell {shell}{nearest(shell, SHELLS)}")
    parser = new_parser()
    for one in parser.commands().values():
        for action in one._actions:
            _complete(action)
    return shtab.complete(parser, shell).rstrip("\n")


def _complete(action: argparse.Action) -> None:
    """Add to an argument, in the way that shtab reads, what may be typed there."""
    import shtab

    if names := getattr(action, "names", None):
        action.choices = tuple(names())
    elif action.metavar in FILES:
        action.complete = shtab.FILE  # type: ignore[attr-defined]
    elif action.metavar in DIRECTORIES:
        action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]


COMMAND = Command(
    name="completion",
    help="print a script with which a shell completes commands, options and names",
    examples=("filtering completion bash > ~/.local/share/bash-completion/completions/filtering",),
    arguments=(
        argument("shell", metavar="SHELL", help=f"{', '.join(SHELLS[:-1])} or {SHELLS[-1]}", completed=lambda: SHELLS),
    ),
    body=_completion,
    notes=NOTES,
)
