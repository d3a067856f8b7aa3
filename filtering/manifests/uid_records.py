"""Kept samples on their way to the range of uids that they belong to: records of one size, whatever keys they have."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from filtering.core import schemas
from filtering.core.uids import SUBSET_DTYPE, Uids, mixed, uid_column, uid_numbers
from filtering.runtime.shuffle import Positions, Records, packed

# A key of img2dataset has 12 digits; one of more than 16 bytes takes several records, in order.
KEY_BYTES = 16
SENT = np.dtype(
    [
        ("high", "<u8"),
        ("low", "<u8"),
        ("shard", "<i4"),
        ("piece", "<u4"),
        ("length", "u1"),
        ("key", "u1", (KEY_BYTES,)),
    ]
)
# Rows of a table that are made at once.
TABLE_ROWS = 65_536


@dataclass(frozen=True, slots=True)
class UidRange:
    """Kept samples in the order of their uids: these as numbers, uint64 (n,), shards, int32 (n,), and keys."""

    high: npt.NDArray[np.uint64]
    low: npt.NDArray[np.uint64]
    shard: npt.NDArray[np.int32]
    keys: pa.LargeStringArray

    def repeated(self) -> Positions:
        """Return the places of samples whose uid is that of the sample before."""
        return np.flatnonzero((self.high[1:] == self.high[:-1]) & (self.low[1:] == self.low[:-1])) + 1

    def table(self) -> pa.Table:
        """Return the samples as a table, `schemas.BY_UID`."""
        starts = range(0, max(len(self.high), 1), TABLE_ROWS)
        return pa.concat_tables([self._part(slice(start, start + TABLE_ROWS)) for start in starts])

    def _part(self, rows: slice) -> pa.Table:
        keys = self.keys[rows].cast(pa.string())
        columns = [uid_column(self.high[rows], self.low[rows]), keys, pa.array(self.shard[rows])]
        return pa.table(columns, schema=schemas.BY_UID)

    def subset(self) -> npt.NDArray[np.void]:
        """Return the samples' part of DataComp's subset array."""
        return packed(SUBSET_DTYPE, f0=self.high, f1=self.low)


def sent_records(uids: Uids, keys: pa.ChunkedArray, shard: npt.NDArray[np.int32]) -> tuple[Records, Positions]:
    """Return samples as records, SENT (m,), those of one after the other, and the sample of each, int64 (m,)."""
    data, offsets = _bytes_of(keys)
    lengths = np.diff(offsets)
    pieces = np.maximum(-(-lengths // KEY_BYTES), 1)
    row = np.repeat(np.arange(len(uids)), pieces)
    piece = np.arange(len(row)) - (np.cumsum(pieces) - pieces)[row]
    used = np.clip(lengths[row] - piece * KEY_BYTES, 0, KEY_BYTES)
    cells = np.zeros((len(row), KEY_BYTES), np.uint8)
    cells[_used_cells(used)] = data
    high, low = uid_numbers(uids)
    records = packed(SENT, high=high[row], low=low[row], shard=shard[row], piece=piece, length=used, key=cells)
    return records, row


def sorted_range(records: Records) -> UidRange:
    """Return the samples of some records, SENT (m,), in the order of their uids; of equal ones in theirs."""
    first = np.flatnonzero(records["piece"] == 0)
    lengths = np.add.reduceat(records["length"], first, dtype=np.int64) if len(first) else np.zeros(0, np.int64)
    data = np.ascontiguousarray(records["key"][_used_cells(records["length"])])
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    keys = pa.LargeStringArray.from_buffers(len(first), pa.py_buffer(offsets), pa.py_buffer(data))
    high, low = (np.ascontiguousarray(records[name][first]) for name in ("high", "low"))
    order = np.lexsort((low, high))
    return UidRange(high[order], low[order], records["shard"][first[order]], keys.take(pa.array(order)))


def records_sum(records: Records) -> int:
    """Return a number of 64 bits that tells some records from others, in whatever order they are."""
    key = records["key"].view("<u8").reshape(-1, KEY_BYTES // 8)
    bits = (records["shard"].astype(np.uint64) << np.uint64(32)) | records["piece"]
    for part in (records["high"], records["low"], records["length"].astype(np.uint64), *key.T):
        bits = mixed(bits) ^ part
    return int(mixed(bits).sum(dtype=np.uint64))


def _used_cells(used: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.bool_]:
    return np.arange(KEY_BYTES) < used[:, None]


def _bytes_of(keys: pa.ChunkedArray) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Return the bytes of all keys, one after the other, and where each begins, int64 (n + 1,)."""
    whole = keys.cast(pa.large_string()).combine_chunks()
    chunks = whole.chunks if isinstance(whole, pa.ChunkedArray) else [whole]
    column = pa.concat_arrays(chunks) if chunks else pa.array([], pa.large_string())
    offsets = np.zeros(1, np.int64)
    if len(column):
        offsets = np.frombuffer(column.buffers()[1], np.int64, len(column) + 1, 8 * column.offset)
    data = column.buffers()[2] if offsets[-1] > offsets[0] else None
    found = np.zeros(0, np.uint8) if data is None else np.frombuffer(data, np.uint8)[offsets[0] : offsets[-1]]
    return found, offsets
