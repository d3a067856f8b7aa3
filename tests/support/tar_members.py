"""The members of a whole tar."""

from collections.abc import Callable, Iterator
from typing import BinaryIO

from filtering.shards.source import ByteSource
from filtering.shards.tar import Member, TarReader


def read_members(stream: BinaryIO, limit_of: Callable[[str], int | None], **options: int) -> Iterator[Member]:
    """Yield the members of a tar, compressed or not, in order."""
    yield from TarReader(ByteSource(stream)).members(limit_of, **options)
