"""Values as text for the report: free of characters that could disguise or break it, and readable numbers."""

import math
import unicodedata
from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

# Captions on the web have up to many megabytes; the report shows this many characters.
LONGEST_TEXT = 2_000
BREAKS = "\u2028\u2029\x0b\x0c\x85"
# These reorder the text around them, so that a caption could disguise the text next to it.
REORDERING = frozenset("\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
# These are not allowed in any document.
NO_CHARACTERS = frozenset("\ufffe\uffff")
UNKNOWN = "–"
# Measures that differ by less than this share are equal.
SAME = 0.005
SCORE_NAMES: Mapping[str, str] = {"clip_score": "CLIP score", "score": "Selection score"}


def clean(value: Any) -> Any:
    """Return text without control characters, lone surrogates and marks that reorder it; other values as they are.

    New lines and tabs stay: the configuration needs them, and elsewhere HTML shows them as a space.
    """
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    if value.isascii() and value.isprintable():
        return value
    return "".join(_clean_character(each) for each in value.replace("\r\n", "\n"))


def _clean_character(each: str) -> str:
    if each in "\n\t":
        return each
    if each in BREAKS or each == "\r":
        return " "
    dropped = each in REORDERING or each in NO_CHARACTERS or unicodedata.category(each) in ("Cc", "Cs")
    return "" if dropped else each


def brief(text: str, longest: int = LONGEST_TEXT) -> str:
    """Return text cut to a length."""
    return text if len(text) <= longest else text[:longest] + "…"


def one_line(text: str, longest: int) -> str:
    """Return text for a chart: clean, on one line, cut to a length."""
    return brief(" ".join(str(clean(text[: 4 * longest])).split()), longest)


def score_name(name: str) -> str:
    """Return the name of a score for readers."""
    return SCORE_NAMES.get(name, name)


def headline(totals: Mapping[str, int]) -> str:
    """Return the outcome in one sentence, such as 'Kept 1,240 of 4,812 image-text pairs (25.8 %)'."""
    kept, whole = totals["kept"], totals["input"]
    if whole == 0:
        return "Kept nothing: the input has no image-text pairs"
    return f"Kept {kept:,} of {whole:,} image-text pairs ({percent(kept, whole)})"


def percent(part: float, whole: float) -> str:
    """Return a share as text; a share above 0 and below 1 is never rounded to 0 % or 100 %."""
    if not whole or not math.isfinite(part):
        return UNKNOWN
    share = 100 * part / whole
    if 0 < share < 0.1:
        return "<0.1 %"
    return ">99.9 %" if 99.9 < share < 100 else f"{share:.1f} %"


def hundredths(part: float, whole: float) -> int:
    """Return a share as the class of a bar, 0 to 100; at least 1 if it is not 0."""
    if not whole or not math.isfinite(part) or part <= 0:
        return 0
    return min(max(round(100 * part / whole), 1), 100)


def number(value: float) -> str:
    """Return a score or distance as text."""
    if not math.isfinite(value):
        return UNKNOWN
    return f"{value:.4g}" if abs(value) >= 1000 else f"{value:.3f}"


def count(value: int) -> str:
    """Return a whole number with separated thousands."""
    return f"{value:,}"


def figure(value: float | None) -> str:
    """Return a measure as text, to four digits."""
    return UNKNOWN if value is None else f"{value:,.4g}"


def comparison(better: str, value: float | None, reference: float | None) -> str:
    """Return better, worse or equal for a value beside a reference; empty if neither is better, or one is unknown."""
    if not better or value is None or reference is None:
        return ""
    if math.isclose(value, reference, rel_tol=SAME):
        return "equal"
    return "better" if (value < reference) == (better == "lower") else "worse"


def memory(size: int) -> str:
    """Return bytes in MiB or GiB."""
    if size <= 0:
        return UNKNOWN
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{max(round(size / 2**20), 1)} MiB"
