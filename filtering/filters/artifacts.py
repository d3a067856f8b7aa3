"""The rows that pass the filters, as the stages after them read them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from filtering.core.fields import FACES, FIELD
from filtering.core.uids import uid_array
from filtering.embedding.artifacts import EmbeddedShard, half_rows
from filtering.runtime.shuffle import read_groups
from filtering.shards.vectors import CONCEPTS, Side, View
from filtering.storage.store import Store

REASONS_NAME = "{}.reasons.parquet"
# A sample with the uid of an earlier one is quarantined, not dropped: two samples cannot share a line of the manifest.
# It is that sample once more, or another one.
DUPLICATE_UID, UID_CONFLICT = "duplicate_uid", "uid_conflict"
REPEATED = (DUPLICATE_UID, UID_CONFLICT)
# Of a filter by hashes, by its place: the rows of a shard that repeat a hash of it, and, of a bucket, those by shard
# that are near an earlier one.
LATER_NAME = "{}.{}.later.npz"
FOUND_NAME = "{}.{:08d}.near"
REPEATED_ROW = np.dtype([("row", "<i4")])
# Vectors are taken from a shard in blocks of this many rows, whatever the shard holds.
BLOCK_ROWS = 16_384


def stage_of(name: str, side: Side) -> str:
    """Return the name of the stage that does for one side what `name` does for images, such as text_graph for graph."""
    return name if side == "image" else f"{side}_{name}"


@dataclass(frozen=True, slots=True)
class FiltersResult:
    """How many rows of the pool pass the filters, and all rows.

    `same` are the identities of the shards whose rows pass as they did in the base; `settings` are the filters as
    configured, JSON-able, with the identities of the lists that they read; `thresholds` are the least CLIP scores that
    each filter lets pass, -1 for filters that have none; `unnamed` counts rows that lack a column by which a list
    excludes (url, sha256), or a field.
    """

    passed: int
    rows: int
    same: tuple[str, ...]
    settings: Any
    thresholds: tuple[float, ...]
    unnamed: dict[str, int] = field(default_factory=dict)

    @property
    def warnings(self) -> list[str]:
        """A line for each column that filters read and that samples lack."""
        return [self._lacking(name, count) for name, count in self.unnamed.items() if count]

    def _lacking(self, name: str, count: int) -> str:
        field = name.removeprefix(FIELD.format(""))
        if field == name:
            return f"filters.exclude: {count:,} of {self.rows:,} samples have no {name}, by which a list excludes"
        if field == FACES:
            return f"filters.faces: {count:,} of {self.rows:,} samples have no face_bboxes, and pass"
        return f"filters.column: {count:,} of {self.rows:,} samples have no number as {field}; see missing"

    @property
    def summary(self) -> str:
        """One line for a person."""
        return f"{self.passed:,} of {self.rows:,} samples pass"


@dataclass(frozen=True, slots=True)
class HashRepeats:
    """The rows that a filter by hashes leaves out, where they were found; `number` is the filter's place."""

    store: Store
    number: int
    buckets: int

    def of_shard(self, identity: str, at: int) -> npt.NDArray[np.int32]:
        """Return the rows of the shard at a place in the list that are left out; some come again."""
        own = self.store.read_arrays(LATER_NAME.format(identity, self.number))["row"]
        names = [FOUND_NAME.format(self.number, bucket) for bucket in range(self.buckets)]
        found = read_groups(self.store, names, at)
        return own if found is None else np.concatenate([own, found["row"]])


@dataclass(frozen=True, slots=True)
class PassingShard:
    """An embedded shard after the filters; `store` has each row's reason for not going on.

    `side` says which of its embeddings are its vectors; of concepts, those of its images unless there are others.
    """

    embedded: EmbeddedShard
    store: Store
    side: View = "image"

    @property
    def index(self) -> int:
        """Place in the inventory."""
        return self.embedded.shard.index

    @property
    def identity(self) -> str:
        """The name of the shard's objects."""
        return self.embedded.shard.identity

    @property
    def bytes(self) -> int:
        """The bytes of the shard's objects."""
        return self.embedded.bytes

    def reasons(self) -> pa.ChunkedArray:
        """Return the reason why each row is left out, null where it passes."""
        return self.store.read_table(REASONS_NAME.format(self.identity))["reason"]

    def rows(self) -> npt.NDArray[np.int64]:
        """Return the rows that go on, ascending."""
        return np.flatnonzero(np.asarray(self.reasons().is_null()))

    def uids(self, rows: npt.NDArray[Any]) -> npt.NDArray[np.bytes_]:
        """Return the uids of some rows, bytes S32 (n,)."""
        uids: npt.NDArray[np.bytes_] = uid_array(self.embedded.rows(["uid"])["uid"])[rows]
        return uids

    def reader(self) -> "VectorReader":
        """Return the reader of the shard's vectors; a shard of which no row passes may have none."""
        return VectorReader(
            self.embedded.rows(["source_row"])["source_row"].to_numpy(), self.embedded.vectors(self.side)
        )

    def vectors(self, rows: npt.NDArray[Any]) -> npt.NDArray[np.float16]:
        """Return the vectors of some rows, at least one, float16 (n, d), in their order."""
        return np.concatenate([block for _, block in self.vector_blocks(rows)])

    def vector_blocks(self, rows: npt.NDArray[Any]) -> Iterator[tuple[slice, npt.NDArray[np.float16]]]:
        """Yield the vectors of some rows in blocks: which of `rows`, and float16 (b, d), b <= 16,384."""
        if len(rows) == 0:
            return
        read = self.reader()
        for start in range(0, len(rows), BLOCK_ROWS):
            block = slice(start, start + BLOCK_ROWS)
            yield block, read(rows[block])


def of_concepts(shards: Sequence[PassingShard]) -> tuple[PassingShard, ...]:
    """Return shards whose vectors are those of concepts and graph: of their images, or of another encoder."""
    return tuple(replace(shard, side=CONCEPTS) for shard in shards)


@dataclass(frozen=True, slots=True)
class VectorReader:
    """Reads the vectors of a shard's rows.

    `whole` (m, d) is mapped where the shard is on a disk; `source`, int32 (n,), is each row's place there.
    """

    source: npt.NDArray[np.int32]
    whole: npt.NDArray[Any]

    def __call__(self, rows: npt.NDArray[Any]) -> npt.NDArray[np.float16]:
        """Return the vectors of some rows, float16 (n, d)."""
        source = self.source[rows]
        # What follows one another need not be copied out of what is mapped.
        together = len(source) and (np.diff(source) == 1).all()
        return half_rows(self.whole[source[0] : source[-1] + 1] if together else self.whole[source])

    def in_memory(self) -> "VectorReader":
        """Return a reader for rows in any order that has read all vectors once, from start to end."""
        return VectorReader(self.source, np.array(half_rows(self.whole)))
