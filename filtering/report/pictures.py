"""The images of the report: those that fit its size limit, each as a data URI."""

import base64
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from io import BytesIO

from PIL import Image, UnidentifiedImageError

from filtering.report.data import Report, Thumbnail

# Random examples that come before those of the concepts.
FIRST_EXAMPLES = 400


@dataclass(frozen=True, slots=True)
class Picture:
    """An image with its size in pixels; `uri` is its data URI where the page shows it first, None everywhere else."""

    number: int  # tells equal images
    uri: str | None
    width: int
    height: int


class Pictures:
    """The images of a page that is rendered: each is in it once, where it is shown first."""

    def __init__(self, shown: frozenset[bytes]) -> None:
        self._shown = shown
        self._known: dict[bytes, Picture] = {}

    def __call__(self, jpeg: bytes | None) -> Picture | None:
        """Return an image to show; None if there is none, or the page has no room for it."""
        if jpeg is None or jpeg not in self._shown:
            return None
        if jpeg in self._known:
            return self._known[jpeg]
        first = Picture(len(self._known), _uri(jpeg), *size_of(jpeg))
        self._known[jpeg] = replace(first, uri=None)
        return first


def size_of(jpeg: bytes) -> tuple[int, int]:
    """Return the size of an image in pixels; zeros if it is not a JPEG."""
    try:
        with Image.open(BytesIO(jpeg), formats=["JPEG"]) as image:
            return image.size
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError, ValueError):
        return 0, 0


def _uri(jpeg: bytes) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii")


def admitted(report: Report, budget: int) -> frozenset[bytes]:
    """Return the most important images that fit into a budget of bytes, in base64."""
    room, found = budget, set[bytes]()
    for jpeg in _jpegs(report):
        if jpeg is None or jpeg in found or not all(size_of(jpeg)):
            continue
        room -= 4 * -(-len(jpeg) // 3)
        if room < 0:
            break
        found.add(jpeg)
    return frozenset(found)


def shown_times(report: Report) -> int:
    """Return how often the page shows an image, repeated ones included."""
    return sum(jpeg is not None for jpeg in _jpegs(report))


def _jpegs(report: Report) -> Iterator[bytes | None]:
    """Yield the images, most important first: examples of the whole pool, then of the concepts, largest first."""
    for examples in report.filtered:
        yield from _of(examples.members)
    yield from _of(report.lowest)
    yield from (example.jpeg for example in report.quarantine_examples)
    yield from _of(report.examples[:FIRST_EXAMPLES])
    for group in report.duplicates:
        yield from _of(group.members)
    sheets = [row.sheet for row in sorted(report.concepts, key=lambda row: -row.size) if row.sheet]
    for sheet in sheets:
        yield from _of(sheet.kept + sheet.dropped)
    yield from _of(report.examples[FIRST_EXAMPLES:])
    for sheet in sheets:
        yield from _of(sheet.hardest + sheet.easiest)


def _of(thumbs: Iterable[Thumbnail]) -> Iterator[bytes | None]:
    for each in thumbs:
        yield each.jpeg
        if each.cover is not None:
            yield each.cover.jpeg
