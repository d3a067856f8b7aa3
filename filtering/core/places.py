"""Paths and URLs that callers give."""

import os

from filtering.core.errors import InputError

# A path or URL.
PathOrUrl = str | os.PathLike[str]


def as_text(place: PathOrUrl) -> str:
    """Return a path or URL as text; InputError if it is something else, or holds what no name does."""
    text: object = os.fspath(place) if isinstance(place, os.PathLike) else place
    if not isinstance(text, str):
        raise InputError(f"{text!r} is no path or URL")
    if "\0" in text:
        raise InputError(f"{text}: no path or URL holds a zero byte")
    return text
