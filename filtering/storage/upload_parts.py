"""The parts of an upload that makes one object of others: ranges that the store copies itself, and bytes sent to it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

# S3 takes no part below 5 MiB but the last one, and none above 5 GiB; a copy of half a GiB takes seconds.
LEAST_PART = 5 << 20
COPY_BYTES = 512 << 20


@dataclass(frozen=True, slots=True)
class Range:
    """The bytes [start, end) of the object of a URL."""

    url: str
    start: int
    end: int

    @property
    def size(self) -> int:
        """How many bytes those are."""
        return self.end - self.start


# What follows each other in a part.
Piece = bytes | Range
Part = tuple[Piece, ...]


def size_of(part: Part) -> int:
    """Return the bytes of a part."""
    return sum(len(piece) if isinstance(piece, bytes) else piece.size for piece in part)


def copied(part: Part) -> Range | None:
    """Return the range that a part is, for the store to copy; None where its bytes are sent."""
    only = part[0] if len(part) == 1 else b""
    return only if isinstance(only, Range) and only.size >= LEAST_PART else None


def upload_parts(header: bytes, sizes: Mapping[str, int], largest: int = COPY_BYTES) -> Iterator[Part]:
    """Yield the parts of an object that is a header and then whole objects, by their URLs and bytes, in their order.

    Every part but the last has at least 5 MiB. Objects are copied, in parts of up to `largest` bytes (at least 10 MiB),
    but for small ones and what completes those before: a part whose bytes are sent has less than 15 MiB and the header.
    """
    sent: Part = (header,) if header else ()
    for url, size in sizes.items():
        missing = max(LEAST_PART - size_of(sent), 0) if sent else 0
        # What would remain of a small object is no part.
        taken = size if size - missing < LEAST_PART else missing
        if taken:
            sent = (*sent, Range(url, 0, taken))
        if sent and size_of(sent) >= LEAST_PART:
            yield sent
            sent = ()
        yield from ((part,) for part in _split(Range(url, taken, size), largest))
    if sent:
        yield sent


def _split(whole: Range, largest: int) -> Iterator[Range]:
    """Yield a range of at least 5 MiB in equal parts of at most `largest` bytes; nothing of an empty one."""
    count = -(-whole.size // largest)
    cuts = [whole.start + whole.size * at // count for at in range(count + 1)] if count else []
    yield from (Range(whole.url, start, end) for start, end in pairwise(cuts))
