"""Whether a pool on this disk is there at all, found out without what reads it."""

import glob
import os
import re
from collections.abc import Mapping
from pathlib import Path

from filtering.config.input import Input
from filtering.config.types import Section
from filtering.core.errors import Mistakes
from filtering.shards.braces import check_braces

# Another filesystem's URLs, and names that are patterns in some way: what lists the pool knows them.
ELSEWHERE, SPECIAL = "::", re.compile(r"[{}\\]|^[a-z]+:")


def check_presence(sections: Mapping[str, Section]) -> None:
    """Refuse local paths and globs of a valid `input` section that lead to nothing; InputError with a line for each."""
    source, mistakes = sections.get("input"), Mistakes()
    if not isinstance(source, Input):
        return
    with mistakes.collected():
        check_braces(source.patterns)
    gone = (pattern for pattern in source.patterns if not _is_there(pattern))
    mistakes.lines += [f"input.{source.kind}: {pattern} is not there" for pattern in gone]
    mistakes.refuse()


def _is_there(pattern: str) -> bool:
    """Say whether something is there, or may be."""
    if ELSEWHERE in pattern or "://" in pattern or SPECIAL.search(pattern):
        return True
    # As every filesystem here takes ~, the home folder.
    path = os.path.expanduser(pattern)  # noqa: PTH111
    try:
        return Path(path).exists() or bool(glob.glob(path))  # noqa: PTH207
    except (OSError, ValueError):
        return False
