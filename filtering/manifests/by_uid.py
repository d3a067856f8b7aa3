"""The kept samples of a run in the order of their uids: tables by range of uids, the subset file, and their hash."""

import bisect
import hashlib
import io
from collections.abc import Iterable, Sequence
from typing import NotRequired

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from typing_extensions import TypedDict

from filtering.core import schemas
from filtering.core.parsing import Count
from filtering.core.uids import SUBSET_DTYPE
from filtering.manifests.artifacts import HASHED_ROWS
from filtering.storage.checksums import read_output
from filtering.storage.decoding import check_table

INDEX = "manifest/by_uid.json"
TABLE_NAME = "manifest/by_uid/{:08d}.parquet"
# Of selections that are too many samples for one file, each an array of its own.
SLICE_NAME = "manifest/subset/{:08d}.npy"


class IndexedRange(TypedDict):
    """A range of uids: its first one, its kept samples, and the names of its table and, if there is one, its slice."""

    first: str
    rows: Count
    table: str
    subset: NotRequired[str]


class UidIndex(TypedDict):
    """What by_uid.json holds: the ranges in ascending order, the first of which begins with the first uid of all."""

    rows: Count
    ranges: list[IndexedRange]


def range_at(ranges: Sequence[IndexedRange], uid: str) -> IndexedRange:
    """Return the range that a uid lies in."""
    return ranges[max(bisect.bisect_right([one["first"] for one in ranges], uid) - 1, 0)]


def parsed_range(url: str, data: bytes) -> pa.Table:
    """Return the table of a range, `schemas.BY_UID`, that was read from a URL; DamagedError if it is something else."""
    table = read_output(url, data)
    check_table(table, schemas.BY_UID, schemas.BY_UID.names, (), url)
    return table


class SelectionHash:
    """The hash of a selection: sha256 over `uid<TAB>key<LF>` of every kept sample, sorted by uid."""

    def __init__(self) -> None:
        self._sha = hashlib.sha256()

    def add(self, samples: pa.Table) -> None:
        """Take the samples that come next in the order of uids, with their columns uid and key."""
        for batch in samples.select(["uid", "key"]).to_batches(max_chunksize=HASHED_ROWS):
            lines = pc.binary_join_element_wise(batch["uid"], "\t", batch["key"], "\n", "")
            ends = np.frombuffer(lines.buffers()[1], np.int32, len(lines) + 1, 4 * lines.offset)
            if len(lines):
                self._sha.update(lines.buffers()[2][int(ends[0]) : int(ends[-1])])

    def hexdigest(self) -> str:
        """Return the hash of what was taken."""
        return self._sha.hexdigest()


def manifest_hash(kept: Iterable[pa.Table]) -> str:
    """Return the hash of a selection from tables in any order, of which all are in memory."""
    found, columns = SelectionHash(), [table.select(["uid", "key"]) for table in kept]
    if columns:
        found.add(pa.concat_tables(columns).sort_by([("uid", "ascending"), ("key", "ascending")]))
    return found.hexdigest()


def subset_header(rows: int) -> bytes:
    """Return the bytes of subset.npy before its samples."""
    buffer = io.BytesIO()
    described = {"descr": np.lib.format.dtype_to_descr(SUBSET_DTYPE), "fortran_order": False, "shape": (rows,)}
    np.lib.format.write_array_header_1_0(buffer, described)
    return buffer.getvalue()


def subset_bytes(subset: npt.NDArray[np.void]) -> bytes:
    """Return the bytes of a subset file of the samples of an array, SUBSET_DTYPE."""
    return subset_header(len(subset)) + subset.astype(SUBSET_DTYPE).tobytes()
