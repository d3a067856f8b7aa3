"""Brace ranges such as {00000000..00001287}, bounded before they are expanded."""

import re
import string
from collections.abc import Iterable

from filtering.core.errors import InputError

# Names that brace ranges stand for, all together: shards of 10,000 samples for the largest pools hold twenty billion.
MAX_NAMES = 2_000_000
# An escaped character, a range, what opens, separates and closes alternatives.
TOKEN = re.compile(r"\\.|\{(-?\d+|[A-Za-z])\.\.(-?\d+|[A-Za-z])(?:\.\.-?(\d+))?\}|[{,}]", re.DOTALL)
LETTERS = string.ascii_uppercase + string.ascii_lowercase
MAX_DEPTH = 50
MAX_DIGITS = 30


def check_braces(patterns: Iterable[str]) -> None:
    """Refuse patterns whose braces stand for more than `MAX_NAMES` names, or nest too deep; InputError.

    Braces that do not match are left to what expands the patterns.
    """
    names = 0
    for pattern in patterns:
        names += _count(pattern)
        if names > MAX_NAMES:
            raise InputError(
                f"{pattern[:200]}: its braces stand for {_words(names)}; name at most {MAX_NAMES:,} shards"
            )


def _words(names: int) -> str:
    return f"{names:,} names" if names < 10**15 else "more names than can be listed"


def _count(pattern: str) -> int:
    """Return how many names a pattern stands for: alternatives are added up, what stands side by side is multiplied."""
    # Of each brace that is open: the names of the alternatives before this one, and of this one so far.
    open_braces = [[0, 1]]
    for token in TOKEN.finditer(pattern):
        inner = open_braces[-1]
        if token[0] == "{":
            open_braces.append([0, 1])
            if len(open_braces) > MAX_DEPTH:
                raise InputError(f"{pattern[:200]}: its braces are nested more than {MAX_DEPTH} deep")
        elif token[0] == "," and len(open_braces) > 1:
            inner[:] = [sum(inner), 1]
        elif token[0] == "}" and len(open_braces) > 1:
            open_braces.pop()
            open_braces[-1][1] *= sum(inner)
        elif token[1]:
            inner[1] *= _range_size(*token.groups())
    return open_braces[0][1]


def _range_size(start: str, end: str, step: str | None) -> int:
    if start.isalpha() != end.isalpha():
        return 1  # no range
    if max(map(len, (start, end, step or ""))) > MAX_DIGITS:
        return MAX_NAMES + 1
    first, last = (LETTERS.index(one) if one.isalpha() else int(one) for one in (start, end))
    return abs(last - first) // max(1, int(step or "1")) + 1
