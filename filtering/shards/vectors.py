"""Vectors that come with the rows of tables: where they are, and those in files beside a table."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from filtering.config.input import Arrays
from filtering.core.errors import InputError, first_line
from filtering.shards.columns import CLIP_RETRIEVAL, DATACOMP, ColumnNames
from filtering.shards.inventory import Shard, VectorFile, base_name
from filtering.shards.metadata import UnreadableError, array_header, array_names, npy_header_of, read_array, read_npy
from filtering.shards.npy import ArrayHeader
from filtering.storage.versions import deletion_refused

# Which of a pair's two embeddings is meant.
Side = Literal["image", "text"]
SIDES: tuple[Side, Side] = ("image", "text")
# The kinds of numpy's dtypes that vectors may have: floats and whole numbers.
NUMBERS = "fiu"


class MismatchError(InputError):
    """Vectors that can be read, but are not those of a shard's rows."""


@dataclass(frozen=True, slots=True)
class Vectors:
    """The vectors of a shard's rows, of images and of captions, numbers (n, d) each, and what is wrong with some.

    `reasons` are why rows have no vectors, "" where they have, with `details`; object (n,).
    """

    images: npt.NDArray[Any]
    texts: npt.NDArray[Any]
    reasons: npt.NDArray[Any]
    details: npt.NDArray[Any]


class VectorSource(Protocol):
    """Where the vectors of a pool's rows are."""

    @property
    def names(self) -> ColumnNames:
        """What the columns of rows may be called."""

    @property
    def copied(self) -> bool:
        """Whether a run keeps a copy of the vectors, because reading them where they are takes long."""

    def check(self, shards: Sequence[Shard]) -> None:
        """Look at the first shard whose vectors can be used; others are quarantined later.

        InputError if one before has vectors under other names only, or none can be used.
        """

    def dimension(self, shard: Shard) -> int:
        """Return the dimension of a shard's vectors, without reading them all; errors as in `read`."""

    def read(self, shard: Shard, count: int) -> Vectors:
        """Return the vectors of a shard's `count` rows, after what checksums they have were compared.

        MismatchError if they are not the vectors of so many rows, or cannot be of any; UnreadableError or
        FileNotFoundError if they cannot be read. What the storage raises otherwise passes as it is.
        """


class FileVectors(ABC):
    """Vectors in files beside tables; a class for each layout says where they are in them."""

    key: str
    what: str

    def check(self, shards: Sequence[Shard]) -> None:
        """Look at the first shard whose vectors can be used, as `VectorSource.check`."""

        def look(shard: Shard) -> None:
            self.refuse_names(shard)
            self.dimension(shard)

        look_for_one(shards, look, f"input.{self.key}: no {self.what}")

    def dimension(self, shard: Shard) -> int:
        """Return the dimension of a shard's vectors, from what their files say of them."""
        return self._checked(shard, None)

    def read(self, shard: Shard, count: int) -> Vectors:
        """Return the vectors of a shard; those that lie uncompressed on a disk are mapped."""
        self._checked(shard, count)
        fine = np.full(count, "", dtype=object)
        images, texts = (self.array(shard, side) for side in SIDES)
        return Vectors(images, texts, fine, fine)

    def _checked(self, shard: Shard, count: int | None) -> int:
        images, texts = (self.header(shard, side) for side in SIDES)
        for side, header in zip(SIDES, (images, texts), strict=True):
            if header.dtype.kind not in NUMBERS:
                raise MismatchError(f"{self.name(shard, side)} holds {_kind(header.dtype)}, not numbers")
        whole = len(images.shape) == 2 and images.shape[1] > 0 and count in (None, images.shape[0])
        if not whole or images.shape != texts.shape:
            rows = "" if count is None else f"{count} rows, "
            raise MismatchError(f"{rows}image array {images.shape}, text array {texts.shape}")
        return images.shape[1]

    @abstractmethod
    def refuse_names(self, shard: Shard) -> None:
        """Refuse a shard whose files have no vectors under the names that are read, by an InputError."""

    @abstractmethod
    def name(self, shard: Shard, side: Side) -> str:
        """Return what the vectors of a side are called, in words."""

    @abstractmethod
    def file(self, shard: Shard, side: Side) -> VectorFile:
        """Return the file that holds the vectors of a side."""

    @abstractmethod
    def header(self, shard: Shard, side: Side) -> ArrayHeader:
        """Return what the vectors of a side say of themselves."""

    @abstractmethod
    def array(self, shard: Shard, side: Side, listed: bool = False) -> npt.NDArray[Any]:
        """Return the vectors of a side; `listed` if they were verified before and must have the shard's version."""


@dataclass(frozen=True, slots=True)
class NpzVectors(FileVectors):
    """Two arrays of an npz beside a table, as DataComp has them."""

    arrays: Arrays
    key = "metadata"
    what = "npz"
    names = DATACOMP
    copied = False

    def refuse_names(self, shard: Shard) -> None:
        """Refuse an npz that has arrays of other names only."""
        url = shard.vectors[0].url
        there = array_names(url)
        for name in (self.arrays.image, self.arrays.text):
            if name not in there:
                raise InputError(f"input.arrays: {url} has no array {name}; it has {', '.join(there)}")

    def name(self, shard: Shard, side: Side) -> str:
        """Return the array of a side."""
        return f"array {self._array_of(side)}"

    def file(self, shard: Shard, side: Side) -> VectorFile:
        """Return the npz."""
        return shard.vectors[0]

    def header(self, shard: Shard, side: Side) -> ArrayHeader:
        """Return the header of the array of a side."""
        return array_header(self.file(shard, side).url, self._array_of(side))

    def array(self, shard: Shard, side: Side, listed: bool = False) -> npt.NDArray[Any]:
        """Return the array of a side."""
        file = self.file(shard, side)
        return read_array(file.url, self._array_of(side), file.version if listed else None, whole=not listed)

    def _array_of(self, side: Side) -> str:
        name: str = getattr(self.arrays, side)
        return name


@dataclass(frozen=True, slots=True)
class NpyVectors(FileVectors):
    """Two npy files a table, as clip-retrieval has them: img_emb_N and text_emb_N in folders beside metadata_N's."""

    key = "clip_retrieval"
    what = "pair of npy files"
    names = CLIP_RETRIEVAL
    copied = False

    def refuse_names(self, shard: Shard) -> None:
        """Refuse nothing: what a file is called says what it holds."""

    def name(self, shard: Shard, side: Side) -> str:
        """Return the base name of the file of a side."""
        return base_name(self.file(shard, side).url)

    def file(self, shard: Shard, side: Side) -> VectorFile:
        """Return the file of a side."""
        return shard.vectors[SIDES.index(side)]

    def header(self, shard: Shard, side: Side) -> ArrayHeader:
        """Return the header of the file of a side."""
        return npy_header_of(self.file(shard, side).url)

    def array(self, shard: Shard, side: Side, listed: bool = False) -> npt.NDArray[Any]:
        """Return the array in the file of a side."""
        file = self.file(shard, side)
        return read_npy(file.url, file.version if listed else None)


def look_for_one(shards: Sequence[Shard], look: Callable[[Shard], None], none: str) -> None:
    """Look at shards until one has vectors that can be used; InputError, after `none` in words, if no shard has."""
    faults = list[str]()
    for shard in shards:
        try:
            return look(shard)
        except UnreadableError as error:
            faults.append(first_line(error))
        except FileNotFoundError:
            faults.append(f"{shard.vectors_url} is not there")
        except MismatchError as error:
            faults.append(f"{shard.vectors_url}: {error}")
    raise InputError(f"{none} has vectors that can be used; {faults[0]}")


def listed_vectors(shard: Shard, side: Side, arrays: Arrays) -> npt.NDArray[Any]:
    """Return vectors of a shard that has files of them, of the versions that were listed; RunError if they changed."""
    source: FileVectors = NpyVectors() if len(shard.vectors) > 1 else NpzVectors(arrays)
    with deletion_refused(source.file(shard, side).url):
        return source.array(shard, side, listed=True)


def _kind(dtype: np.dtype[Any]) -> str:
    """Return a dtype in words."""
    if dtype.names is None and dtype.kind == "V":
        return f"{dtype.itemsize} raw bytes each, as bfloat16 is stored"
    return "records" if dtype.names is not None else str(dtype)
