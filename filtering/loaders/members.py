"""The members of the kept samples of a tar, put together as the run put them together."""

from collections.abc import Iterator
from typing import BinaryIO, NamedTuple, cast

from fsspec.implementations.local import LocalFileSystem

from filtering.core.errors import RunError
from filtering.loaders.disk import SparseFile
from filtering.shards.faults import Fault
from filtering.shards.grouping import Group, Grouping
from filtering.shards.names import place
from filtering.shards.samples import WINDOW_BYTES
from filtering.shards.tar import Member, read_members
from filtering.storage.store import filesystem_of, stream_object

MAX_MEMBER_BYTES = 1 << 30


class Part(NamedTuple):
    """A member of a kept sample.

    Attributes
    ----------
    extension : what follows the first dot of its name, in lower case, as webdataset names it.
    start : byte of the tar at which its data begins.
    data : its bytes.
    """

    extension: str
    start: int
    data: bytes


class Kept(NamedTuple):
    """A kept sample: its key and its members, in the order in which they stand."""

    key: str
    parts: list[Part]


def kept_members(url: str, keys: set[str]) -> Iterator[Kept]:
    """Yield the samples of some keys of a tar, in the order in which they are whole.

    Of a key that is used again, the first sample comes, which is the one that a run keeps. What follows the last of
    the samples is not read, and what lies between them is passed on a disk and read, for nothing, elsewhere.

    Raises
    ------
    RunError
        If some are not there or cannot be read; the others have been yielded.
    """
    left = set(keys)
    with open_tar(url) as stream:
        fault = None
        grouping = Grouping(WINDOW_BYTES)
        for member in read_members(stream, lambda name: _limit(name, keys)):
            fault = member.fault if member.ends else None
            for group in grouping.add(member):
                yield from _taken(url, group, left)
            grouping.entries()
            if not left:
                return
        for group in grouping.close():
            yield from _taken(url, group, left)
    if left:
        raise RunError(_missing(url, left, len(keys), fault))


def open_tar(url: str) -> BinaryIO:
    """Open a tar that is read once: on a disk, what is passed is not read."""
    filesystem, path = filesystem_of(url)
    return cast(BinaryIO, SparseFile(path)) if isinstance(filesystem, LocalFileSystem) else stream_object(url)


def _limit(name: str, keys: set[str]) -> int | None:
    at = place(name)
    return MAX_MEMBER_BYTES if at and at.key in keys and not at.too_long else None


def _taken(url: str, group: Group, left: set[str]) -> Iterator[Kept]:
    """Yield a group if it is a kept sample, and take its key from those that are left; one cut off is left."""
    if group.key in left and group.lost is None:
        yield Kept(group.key, list(_parts(url, group)))
        left.remove(group.key)


def _parts(url: str, group: Group) -> Iterator[Part]:
    for member in group.members.values():
        if member.data is not None:
            yield Part(_extension(member), member.start, member.data)
        elif member.fault is None or member.fault.reason != "not_a_file":
            detail = member.fault.detail if member.fault else "its members lie too far apart"
            raise RunError(f"{url}: {member.name}: {detail}")


def _extension(member: Member) -> str:
    return member.name.rpartition("/")[2].partition(".")[2].lower()


def _missing(url: str, left: set[str], kept: int, fault: Fault | None) -> str:
    end = f"; {fault.detail}" if fault else ""
    return f"{url}: {len(left):,} of {kept:,} kept samples are not there, {min(left)} for one{end}"
