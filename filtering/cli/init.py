"""`filtering init`: write an example of a configuration, to be edited."""

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING

from filtering.cli.declaration import Command, argument
from filtering.cli.output import print_result

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

DEFAULT = "s3-gpu"
# The pool of DataComp that most begin with.
ALIASES = {"datacomp": "datacomp-small"}


def examples() -> Mapping[str, "Traversable"]:
    """Return the examples that come with the package, files of YAML by name."""
    from importlib.resources import files

    found = (files("filtering.jobs") / "configs").iterdir()
    named = {one.name.removesuffix(".yaml"): one for one in sorted(found, key=lambda one: one.name)}
    return named | {alias: named[name] for alias, name in ALIASES.items()}


def _init(given: argparse.Namespace) -> int:
    from filtering.config.validation import nearest
    from filtering.core.errors import InputError

    known = examples()
    if given.name not in known:
        raise InputError(f"init: unknown example {given.name}{nearest(given.name, known)}")
    text = known[given.name].read_text(encoding="utf-8")
    try:
        # Exclusively: what is there may be a configuration that somebody has edited.
        with open(given.out, "x", encoding="utf-8") as file:  # noqa: PTH123
            file.write(text)
    except FileExistsError:
        raise InputError(f"init: {given.out} is there already; give another file by --out") from None
    except FileNotFoundError:
        raise InputError(f"init: {given.out}: its folder is not there") from None
    value = {"example": given.name, "file": given.out}
    return print_result(given, value, lambda: written_lines(given.name, given.out))


def written_lines(name: str, path: str) -> list[str]:
    """Return what was written, and what comes next."""
    return [
        f"wrote {path}, the example {name}",
        f"  edit {path}           its input and output at least",
        f"  filtering plan --config {path}",
        f"  filtering run --config {path}",
    ]


COMMAND = Command(
    name="init",
    help="write an example of a configuration, to be edited",
    examples=("filtering init", "filtering init local", "filtering init datacomp --out small.yaml"),
    arguments=(
        argument(
            "name",
            nargs="?",
            metavar="NAME",
            default=DEFAULT,
            help="s3-gpu (tars and GPUs; without a name), local (a folder of img2dataset), datacomp (metadata), "
            "nightly, steps, or one of DataComp's baselines, such as datacomp-basic",
            completed=examples,
        ),
        argument("--out", metavar="FILE", default="run.yaml", help="where to write it; run.yaml by default"),
    ),
    body=_init,
    notes="A file that is there already is not overwritten.",
)
