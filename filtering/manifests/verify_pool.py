"""Whether the files of the whole pool agree with the shards' kept tables: a range of uids is in memory at a time."""

import contextlib
import io
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from filtering.core.uids import SUBSET_DTYPE, subset_array, uid_array
from filtering.manifests.artifacts import SUBSET
from filtering.manifests.by_uid import IndexedRange, SelectionHash, parsed_range, subset_bytes, subset_header
from filtering.manifests.uid_records import records_sum, sent_records
from filtering.manifests.written import WrittenManifest
from filtering.shards.npy import npy_header
from filtering.storage.store import stream_object
from filtering.storage.streams import next_bytes


class PoolCheck:
    """Takes the kept tables of all shards, then says what of the pool's files is something else.

    Runs of older versions have no tables by uid: their kept samples are all in memory.
    """

    def __init__(self, manifest: WrittenManifest) -> None:
        self._manifest, self._ranges = manifest, manifest.uid_ranges()
        self._sum, self._rows = 0, 0
        self._kept: list[pa.Table] = []

    def add(self, shard: int, kept: pa.Table) -> None:
        """Take the kept table of a shard."""
        self._sum += _sum_of(kept, np.full(len(kept), shard, np.int32))
        self._rows += len(kept)
        if not self._ranges:
            self._kept.append(kept.select(["uid", "key"]))

    def problems(self) -> Iterator[str]:
        """Yield what does not hold, a line each."""
        found, order, total = SelectionHash(), _Order(), 0
        with contextlib.closing(_Subset(self._manifest, self._ranges, self._rows)) as subset:
            for table in self._tables():
                order.add(table)
                subset.add(table)
                found.add(table)
                total += _sum_of(table, table["shard"].to_numpy()) if self._ranges else 0
            fault = subset.fault()
        same = not self._ranges or ((total - self._sum) % 2**64 == 0 and order.holds)
        if not same:
            yield "manifest/by_uid: does not hold exactly the kept samples in order"
        if fault or not same:
            yield f"{SUBSET}: {fault or NOT_KEPT}"
        if order.twice:
            yield "manifest/kept: a uid is kept twice"
        if not same or self._manifest.record["manifest_hash"] != found.hexdigest():
            yield "run.json: manifest_hash does not match the kept samples"

    def _tables(self) -> Iterator[pa.Table]:
        if self._kept:
            yield pa.concat_tables(self._kept).sort_by([("uid", "ascending"), ("key", "ascending")])
        for one in self._ranges:
            yield parsed_range(self._manifest.run.path(one["table"]), self._manifest.read(one["table"]))


NOT_KEPT = "does not hold exactly the kept uids in order"


class _Order:
    """Whether uids ascend from table to table, and whether one comes twice."""

    def __init__(self) -> None:
        self.holds, self.twice, self._last = True, False, np.zeros(0, "S32")

    def add(self, table: pa.Table) -> None:
        uids = np.concatenate([self._last, uid_array(table["uid"])])
        self.holds &= bool((uids[1:] >= uids[:-1]).all())
        self.twice |= bool((uids[1:] == uids[:-1]).any())
        self._last = uids[-1:]


class _Subset:
    """The subset file, or its slices, compared with the kept samples as they come in order."""

    def __init__(self, manifest: WrittenManifest, ranges: list[IndexedRange], rows: int) -> None:
        self._manifest, self._fault = manifest, ""
        self._slices = iter([one["subset"] for one in ranges if "subset" in one])
        self._stream = None
        if manifest.lists(SUBSET):
            self._stream = stream_object(manifest.run.path(SUBSET))
            self._expect(subset_header(rows))

    def add(self, table: pa.Table) -> None:
        samples = subset_array(uid_array(table["uid"]))
        if self._stream is not None:
            self._expect(samples.tobytes())
        elif self._manifest.read(next(self._slices)) != subset_bytes(samples):
            self._fault = self._fault or NOT_KEPT

    def fault(self) -> str:
        """Return what is wrong with it, after the last table; nothing if nothing is."""
        if self._stream is not None and self._stream.read(1):
            self._fault = self._fault or NOT_KEPT
        return self._fault

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()

    def _expect(self, data: bytes) -> None:
        assert self._stream is not None
        if self._fault or (found := next_bytes(self._stream, len(data))) == data:
            return
        self._fault = NOT_KEPT
        # Of what is no header of this array it is said what it is.
        with contextlib.suppress(ValueError):
            if (dtype := npy_header(io.BytesIO(found)).dtype) != SUBSET_DTYPE:
                self._fault = f"dtype is {dtype}, DataComp needs {SUBSET_DTYPE}"


def _sum_of(table: pa.Table, shards: npt.NDArray[np.int32]) -> int:
    return records_sum(sent_records(uid_array(table["uid"]), table["key"], shards)[0])
