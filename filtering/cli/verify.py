"""`filtering verify`: check a finished run."""

import argparse
from collections.abc import Sequence

from filtering.cli.declaration import RUN, Command
from filtering.cli.output import print_result
from filtering.cli.suggestions import existing_run
from filtering.core.formatting import counted


def _verify(given: argparse.Namespace) -> int:
    from filtering.manifests.verify import problems
    from filtering.storage.store import Store

    found = list(problems(Store(existing_run(given.run))))
    value = {"run": given.run, "problems": found, "ok": not found}
    print_result(given, value, lambda: verify_lines(given.run, found))
    return 1 if found else 0


def verify_lines(run: str, problems: Sequence[str]) -> list[str]:
    """Return the problems of a run, a line each, and how many there are."""
    if not problems:
        return [f"{run}: no problems found"]
    return [*problems, counted(len(problems), "problem")]


COMMAND = Command(
    name="verify",
    help="check the conservation, checksums and schemas of a run; exits with 0 only if all hold",
    examples=("filtering verify runs/first",),
    arguments=(RUN,),
    body=_verify,
)
