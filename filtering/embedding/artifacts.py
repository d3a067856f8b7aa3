"""An embedded shard: its rows and vectors, wherever they lie."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from typing_extensions import TypedDict

from filtering.config.input import Arrays
from filtering.core import schemas
from filtering.core.fields import FIELD
from filtering.core.fixed_point import in_steps
from filtering.core.formatting import counted
from filtering.core.halves import unit_half_steps, unit_halves, widened_halves
from filtering.core.portable_math import row_products
from filtering.shards.inventory import Shard
from filtering.shards.offsets import Offsets, read_offsets
from filtering.shards.vectors import CONCEPTS, View, listed_vectors
from filtering.storage.decoding import check_table
from filtering.storage.store import Store

NAME = "embedding"
ROWS_NAME = "{}.rows.parquet"
QUARANTINE_NAME = "{}.quarantined.parquet"
VECTORS_NAME = "{}.{}.npy"
# Of tars: an array of `filtering.shards.offsets.OFFSET`, a row for each row of the table: where its sample's members
# stand in the tar. Shards that an older version embedded have none; whoever reads them looks for members by key.
OFFSETS_NAME = "{}.offsets.npy"
# Of runs that ask for what stands beside rows (`schemas.beside_rows`): its columns, a row for each row of the table.
SIGNALS_NAME = "{}.signals.parquet"
ARRAYS_MISMATCH = "arrays_mismatch"
# Of rows: what an older version left out, and what is not known.
LEFT_OUT = ("content", "url", "sha256")
NULLABLE = ("width", "height", *LEFT_OUT)
# Between these, float32 holds the squares of a row that decide its length; halves are always between them, or zero.
LEAST_SQUARE, LARGEST_SQUARE = 2.0**-90, 2.0**120
HALVED_AT_ONCE = 16_384


@dataclass(frozen=True, slots=True)
class EmbeddedShard:
    """An embedded shard, and the folder of its rows, and of its vectors unless they are in files beside its table.

    `arrays` are the names of the arrays in DataComp's npz; None for tars. `mismatch` says why none of its rows can be
    used beside the rest of the pool: its vectors have another dimension; empty where they have not. `concepts` names
    the vectors from which concepts and graph are made: an encoder, an array, a folder or a column; empty where they are
    those of the images.
    """

    shard: Shard
    store: Store
    arrays: Arrays | None = None
    mismatch: str = ""
    concepts: str = ""

    @property
    def identity(self) -> str:
        """The name of the shard's objects."""
        return self.shard.identity

    @property
    def bytes(self) -> int:
        """The bytes of the shard's objects."""
        return self.shard.bytes

    def rows(self, columns: list[str] | None = None) -> pa.Table:
        """Return the table `schemas.ROWS` of this shard, or some of its columns and of those beside it."""
        if columns is not None and (beside := [field for name in columns if (field := schemas.column_beside(name))]):
            return self._with_columns(columns, pa.schema(beside))
        if self.mismatch:
            empty = schemas.ROWS.empty_table()
            return empty if columns is None else empty.select(columns)
        name = ROWS_NAME.format(self.shard.identity)
        found, names = self.store.read_table(name, columns), columns or schemas.ROWS.names
        there = [one for one in names if one not in LEFT_OUT or one in found.column_names]
        check_table(found, schemas.ROWS, there, NULLABLE, self.store.path(name))
        return found

    def _with_columns(self, columns: list[str], beside: pa.Schema) -> pa.Table:
        own, name = [one for one in columns if one not in beside.names], SIGNALS_NAME.format(self.shard.identity)
        found = beside.empty_table() if self.mismatch else self.store.read_table(name, beside.names)
        fields = [one for one in beside.names if one.startswith(FIELD.format(""))]
        check_table(found, beside, beside.names, fields, self.store.path(name))
        rows = self.rows(own) if own else found
        return pa.table([(found if one in beside.names else rows)[one] for one in columns], names=columns)

    def quarantined(self) -> pa.Table:
        """Return the table `tables.QUARANTINED` of this shard."""
        found = self.store.read_table(QUARANTINE_NAME.format(self.shard.identity))
        return pa.concat_tables([found, self._mismatched()]) if self.mismatch else found

    def _mismatched(self) -> pa.Table:
        rows = self.store.read_table(ROWS_NAME.format(self.shard.identity), ["uid", "key"])
        said = {"shard": self.shard.url, "reason": ARRAYS_MISMATCH, "detail": self.mismatch}
        columns = {name: pa.array([word] * len(rows), pa.string()) for name, word in said.items()}
        columns |= {"member": rows["uid"], "key": rows["key"]}
        return pa.table([columns[name] for name in schemas.QUARANTINED.names], schema=schemas.QUARANTINED)

    def offsets(self) -> Offsets | None:
        """Return where the samples stand in the tar; None of metadata, and where an older version embedded the shard.

        They hold for a shard that still has the size and version that `shard` has.
        """
        return read_offsets(self.store, OFFSETS_NAME.format(self.shard.identity))

    def images(self) -> npt.NDArray[Any]:
        """Return the image embeddings (m, d), to be indexed by `source_row`; mapped, not read, on a disk.

        They are float16 of tars and of tables' columns. Those of files beside a table have the dtype and the length
        that they have there: `half_rows` or `unit_rows` make one thing of them.
        """
        return self.vectors("image")

    def texts(self) -> npt.NDArray[Any]:
        """Return the caption embeddings, as `images` does those of the images."""
        return self.vectors("text")

    def vectors(self, view: View) -> npt.NDArray[Any]:
        """Return the vectors of a view, as `images`; of concepts those of the images where they have no others."""
        view = "image" if view == CONCEPTS and not self.concepts else view
        if self.shard.vectors:
            # The rows are those of the tables: of the shard's objects only these files are read again.
            return listed_vectors(self.shard, view, self.arrays or Arrays(), self.concepts)
        name = self.concepts if view == CONCEPTS and self.arrays is None else view
        return self.store.read_array(VECTORS_NAME.format(self.shard.identity, name))


class ShardCounts(TypedDict):
    """The result of embedding one shard: samples in it, rows with an embedding, quarantined samples by reason."""

    samples: int
    rows: int
    quarantined: int
    quarantine_reasons: dict[str, int]


class Dimensions(TypedDict):
    """The dimension of a shard's vectors, and of those of concepts where they are others; 0 where it has none."""

    dimension: int
    of_concepts: int


class MetadataCounts(ShardCounts, Dimensions):
    """The result of taking a file of metadata."""


class TarCounts(ShardCounts, Dimensions):
    """The result of embedding a tar: besides, the seconds that the model waited for samples and worked.

    `model_warnings` are what open_clip and torch warned of when the model was loaded.
    """

    waited_seconds: float
    forward_seconds: float
    model_warnings: list[str]


@dataclass(frozen=True, slots=True)
class EmbeddingResult:
    """What the embedding stage found: samples in the pool, those that have an embedding, and those that cannot be used.

    Carried shards are those that a base had, or a run whose embeddings were taken over; `by_shard` has the samples in
    each shard, in the order of the inventory; `warnings` are those of the model; `dimension` is that of the vectors of
    most rows, 0 where it is not known.
    """

    samples: int
    rows: int
    quarantined: int
    embedded_shards: int
    carried_shards: int
    by_shard: tuple[int, ...]
    warnings: tuple[str, ...] = ()
    dimension: int = 0

    @property
    def summary(self) -> str:
        """One line for a person."""
        found = f"{counted(self.rows, 'sample')} embedded, {self.quarantined:,} quarantined"
        if self.carried_shards:
            found += (
                f"; {counted(self.embedded_shards, 'shard')} embedded, {self.carried_shards:,} taken from another run"
            )
        return found


def unit_rows(vectors: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Return rows scaled to length 1, float32 (n, d), whatever their lengths; zero rows stay zero."""
    if vectors.dtype == np.float16:
        return unit_halves(vectors)
    rows, squared = measured(vectors)
    rows /= np.maximum(np.sqrt(squared), np.finfo(np.float32).tiny)[:, None]
    return rows


def unit_steps(vectors: npt.NDArray[Any]) -> npt.NDArray[np.int16]:
    """Return rows scaled to length 1, in steps of 2^-15, int16 (n, d), see `core.fixed_point`; zero rows stay zero."""
    if vectors.dtype == np.float16:
        return unit_half_steps(vectors)
    steps = np.empty(vectors.shape, dtype=np.int16)
    for start in range(0, len(vectors), HALVED_AT_ONCE):
        block = slice(start, start + HALVED_AT_ONCE)
        steps[block] = in_steps(unit_rows(vectors[block]))
    return steps


def half_rows(vectors: npt.NDArray[Any]) -> npt.NDArray[np.float16]:
    """Return vectors as every stage reads them, float16 (n, d): halves as they are, all others at length 1.

    A half holds nothing above 65,504, and fewer and fewer digits below 6e-5: a vector of any other length would lose
    its direction.
    """
    if vectors.dtype == np.float16:
        return np.asarray(vectors)
    halves = np.empty(vectors.shape, dtype=np.float16)
    for start in range(0, len(vectors), HALVED_AT_ONCE):
        block = slice(start, start + HALVED_AT_ONCE)
        halves[block] = unit_rows(vectors[block])
    return halves


def measured(vectors: npt.NDArray[Any]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return vectors as float32 (n, d) of their own, and their squared lengths, float32 (n,).

    Rows whose squares float32 cannot hold are scaled first, by a power of two, so that no digit changes. A squared
    length is zero where all values are, and not finite where one is not.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        rows = widened(vectors)
        squared = row_products(rows, rows).astype(np.float32)
    odd = np.flatnonzero(~((squared > LEAST_SQUARE) & (squared < LARGEST_SQUARE)))
    if len(odd):
        rows[odd] = _rescaled(np.asarray(vectors[odd], dtype=np.float64))
        squared[odd] = row_products(rows[odd], rows[odd])
    return rows, squared


def _rescaled(rows: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """Return rows with largest values between 0.5 and 1; those of zeros, or with NaN or infinity, as they are."""
    exponents = np.frexp(np.abs(rows).max(axis=1, initial=0.0))[1]
    exponents[~np.isfinite(rows).all(axis=1)] = 0
    scaled: npt.NDArray[np.float32] = np.ldexp(rows, -exponents[:, None]).astype(np.float32)
    return scaled


def widened(vectors: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Return vectors (n, d) as float32 of their own."""
    if vectors.dtype == np.float16:
        return widened_halves(vectors)
    return np.array(vectors, dtype=np.float32, order="C")
