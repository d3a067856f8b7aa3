"""The images of the report: those that fit its size limit, each as a data URI."""

import base64
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import BytesIO

from PIL import Image, UnidentifiedImageError

from filtering.report.data import Report, Thumbnail


@dataclass(frozen=True, slots=True)
class Picture:
    """An image as a data URI, with its size in pixels."""

    uri: str
    width: int
    height: int


def picture(jpeg: bytes | None) -> Picture | None:
    """Return an image to show; None if it is missing or not a JPEG."""
    if jpeg is None:
        return None
    try:
        with Image.open(BytesIO(jpeg), formats=["JPEG"]) as image:
            width, height = image.size
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError, ValueError):
        return None
    return Picture("data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii"), width, height)


def admitted(report: Report, budget: int) -> frozenset[bytes]:
    """Return the most important images that fit into a budget of bytes, in base64 and each as often as it is shown."""
    shown = [jpeg for jpeg in _jpegs(report) if jpeg is not None]
    times, room, found = Counter(shown), budget, set[bytes]()
    for jpeg in times:
        room -= times[jpeg] * 4 * -(-len(jpeg) // 3)
        if room < 0:
            break
        found.add(jpeg)
    return frozenset(found)


def _jpegs(report: Report) -> Iterator[bytes | None]:
    """Yield the images, most important first: examples of the whole pool, then of the concepts, largest first."""
    for examples in report.filtered:
        yield from _of(examples.members)
    yield from _of(report.lowest)
    for group in report.duplicates:
        yield from _of(group.members)
    sheets = [row.sheet for row in sorted(report.concepts, key=lambda row: -row.size) if row.sheet]
    for sheet in sheets:
        yield from _of(sheet.kept + sheet.dropped)
    for sheet in sheets:
        yield from _of(sheet.hardest + sheet.easiest)


def _of(thumbs: Iterable[Thumbnail]) -> Iterator[bytes | None]:
    for each in thumbs:
        yield each.jpeg
        if each.cover is not None:
            yield each.cover.jpeg
