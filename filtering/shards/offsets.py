"""Where samples stand in their tars: noted while a tar is embedded, looked up by key when kept samples are read."""

import hashlib
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from filtering.core.errors import DamagedError
from filtering.shards.npy import npy_header
from filtering.shards.tar import BLOCK
from filtering.storage.checksums import MissingError, array_bytes
from filtering.storage.store import Store

# How the bytes of a span are to be read: see `Span`.
MIXED, COMPRESSED = 1, 2
OFFSET = np.dtype([("key", "<u8"), ("start", "<i8"), ("end", "<i8"), ("layout", "u1")])
"""The row of a sample, 25 bytes: the hash of its key (`key_hash`), and its span."""

Table = npt.NDArray[np.void]


class Span(NamedTuple):
    """The bytes of a tar from the first header of a sample's first member to the end of its last one's padding.

    `layout` 0: the span holds the sample's members and nothing else. `MIXED`: other bytes stand between them (members
    of other samples, repeats, links, global headers); the sample is then the first member of each extension of its key
    in the span. `COMPRESSED`: offsets are those of the inflated bytes, and the tar is read from its start.
    """

    start: int
    end: int
    layout: int


class Wanted(NamedTuple):
    """A sample that is read at its span."""

    key: str
    span: Span


@dataclass(frozen=True, slots=True)
class Offsets:
    """The spans of samples of one tar: a table of `OFFSET`, (n,), in the order in which they were noted."""

    table: Table

    def places(self, keys: Sequence[str]) -> npt.NDArray[np.int64]:
        """Return the row of each key in the table, int64 (k,), -1 where there is none, or where keys share a hash."""
        wanted = np.array([key_hash(key) for key in keys], dtype=np.uint64)
        order = np.argsort(self.table["key"], kind="stable")
        known = self.table["key"][order]
        first, behind = (np.searchsorted(known, wanted, side) for side in ("left", "right"))
        # Two keys of one hash are made on purpose: neither may stand for the other.
        return np.where(behind - first == 1, np.append(order, -1)[first], -1)

    def wanted(self, keys: Sequence[str]) -> list[Wanted] | None:
        """Return the samples of keys with their spans, None unless all are in the table."""
        places = self.places(keys)
        return None if (places < 0).any() else wanted_samples(keys, self.table[places])


def wanted_samples(keys: Sequence[str], table: Table) -> list[Wanted]:
    """Return samples with their spans, from rows of `OFFSET` (k,) that belong to their keys."""
    spans = zip(*(table[name].tolist() for name in ("start", "end", "layout")), strict=True)
    return [Wanted(key, Span(*span)) for key, span in zip(keys, spans, strict=True)]


def key_hash(key: str) -> int:
    """Return 64 bits that stand for a key: blake2b."""
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "little")


def offsets_of(spans: Iterable[tuple[str, Span]]) -> Offsets:
    """Return the offsets of keys with their spans."""
    return Offsets(np.array([(key_hash(key), *span) for key, span in spans], dtype=OFFSET))


def read_offsets(store: Store, name: str) -> Offsets | None:
    """Return offsets that were written, None if there are none; DamagedError if the object is damaged."""
    try:
        data = store.read_checked(name)
    except MissingError:
        return None
    try:
        table = _parsed(data)
    except Exception:
        # numpy meets a damaged header with errors of every kind.
        table = None
    if table is None:
        raise DamagedError(store.path(name), "does not hold offsets")
    return Offsets(table)


def _parsed(data: bytes) -> Table | None:
    """Return the table of an npy object, None if it holds something else; nothing is allocated that it only claims."""
    header = npy_header(io.BytesIO(data))
    count = header.shape[0] if len(header.shape) == 1 else -1
    table = np.frombuffer(data, OFFSET, offset=header.start, count=count)
    start, end = table["start"], table["end"]
    whole = (start >= 0) & (end > start) & (start % BLOCK == 0) & (end % BLOCK == 0)
    return table if header.dtype == OFFSET and header.shape == table.shape and whole.all() else None


def write_offsets(store: Store, name: str, offsets: Offsets) -> None:
    """Write offsets as an npy object."""
    store.write(name, array_bytes(store.path(name), offsets.table))
