"""The page's pictures: which of them the page has room for, and each as a data URI."""

import base64
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import BytesIO

from PIL import Image, UnidentifiedImageError

from filtering.report.data import Page
from filtering.report.parts import Thumbnail


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture as a data URI, with its size in pixels."""

    uri: str
    width: int
    height: int


def picture(jpeg: bytes | None) -> Picture | None:
    """Return a picture to show, None where it is missing or not a JPEG."""
    if jpeg is None:
        return None
    try:
        with Image.open(BytesIO(jpeg), formats=["JPEG"]) as image:
            width, height = image.size
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError, ValueError):
        return None
    return Picture("data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii"), width, height)


def admitted(page: Page, budget: int) -> frozenset[bytes]:
    """Return the pictures that the page has room for: the first in the order of importance.

    Parameters
    ----------
    page : Page
        What to show.
    budget : int
        Bytes that all of them may take in the page, in base64 and each as often as it is shown.
    """
    shown = [jpeg for jpeg in _jpegs(page) if jpeg is not None]
    times, room, found = Counter(shown), budget, set[bytes]()
    for jpeg in times:
        room -= times[jpeg] * 4 * -(-len(jpeg) // 3)
        if room < 0:
            break
        found.add(jpeg)
    return frozenset(found)


def _jpegs(page: Page) -> Iterator[bytes | None]:
    """Yield the pictures, most important first: evidence of all the pool, then the concepts, the largest first."""
    for examples in page.filtered:
        yield from _of(examples.members)
    yield from _of(page.lowest)
    for group in page.duplicates:
        yield from _of(group.members)
    sheets = [row.sheet for row in sorted(page.concepts, key=lambda row: -row.size) if row.sheet]
    for sheet in sheets:
        yield from _of(sheet.kept + sheet.dropped)
    for sheet in sheets:
        yield from _of(sheet.hardest + sheet.easiest)


def _of(thumbs: Iterable[Thumbnail]) -> Iterator[bytes | None]:
    for each in thumbs:
        yield each.jpeg
        if each.cover is not None:
            yield each.cover.jpeg
