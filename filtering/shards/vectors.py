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
# Or the image's vector of another encoder, from which concepts and graph are made.
CONCEPTS: Literal["concepts"] = "concepts"
View = Literal["image", "text", "concepts"]
# The kinds of numpy's dtypes that vectors may have: floats and whole numbers.
NUMBERS = "fiu"


class MismatchError(InputError):
    """Vectors that can be read, but are not those of a shard's rows."""


@dataclass(frozen=True, slots=True)
class Vectors:
    """The vectors of a shard's rows, of images and of captions, numbers (n, d) each, and what is wrong with some.

    `reasons` are why rows have no vectors, "" where they have, with `details`; object (n,). `concepts`, numbers (n, c),
    are the images' vectors of another encoder, None where none is asked for.
    """

    images: npt.NDArray[Any]
    texts: npt.NDArray[Any]
    reasons: npt.NDArray[Any]
    details: npt.NDArray[Any]
    concepts: npt.NDArray[Any] | None = None

    def of(self, view: View) -> npt.NDArray[Any] | None:
        """Return the vectors of one view."""
        return {"image": self.images, "text": self.texts, CONCEPTS: self.concepts}[view]


class VectorSource(Protocol):
    """Where the vectors of a pool's rows are."""

    @property
    def names(self) -> ColumnNames:
        """What the columns of rows may be called."""

    @property
    def views(self) -> tuple[View, ...]:
        """Which vectors rows have: of images and captions, and of another encoder where it is asked for."""

    @property
    def copied(self) -> bool:
        """Whether a run keeps a copy of the vectors, because reading them where they are takes long."""

    def check(self, shards: Sequence[Shard]) -> None:
        """Look at the first shard whose vectors can be used; others are quarantined later.

        InputError if one before has vectors under other names only, or none can be used.
        """

    def dimensions(self, shard: Shard) -> tuple[int, int]:
        """Return the dimensions of a shard's vectors, and of those of concepts, without reading them all.

        The second is 0 where they are those of the images. Errors as in `read`.
        """

    def read(self, shard: Shard, count: int) -> Vectors:
        """Return the vectors of a shard's `count` rows, after what checksums they have were compared.

        MismatchError if they are not the vectors of so many rows, or cannot be of any; UnreadableError or
        FileNotFoundError if they cannot be read. What the storage raises otherwise passes as it is.
        """


class FileVectors(ABC):
    """Vectors in files beside tables; a class for each layout says where they are in them."""

    key: str
    what: str
    # The name of the vectors of concepts; empty where they are those of the images.
    concepts: str

    @property
    def views(self) -> tuple[View, ...]:
        """Which vectors rows have."""
        return views_of(self.concepts)

    def check(self, shards: Sequence[Shard]) -> None:
        """Look at the first shard whose vectors can be used, as `VectorSource.check`."""

        def look(shard: Shard) -> None:
            self.refuse_names(shard)
            self.dimensions(shard)

        look_for_one(shards, look, f"input.{self.key}: no {self.what}")

    def dimensions(self, shard: Shard) -> tuple[int, int]:
        """Return the dimensions of a shard's vectors, from what their files say of them."""
        return self._checked(shard, None)

    def read(self, shard: Shard, count: int) -> Vectors:
        """Return the vectors of a shard; those that lie uncompressed on a disk are mapped."""
        self._checked(shard, count)
        fine = np.full(count, "", dtype=object)
        found = {view: self.array(shard, view) for view in self.views}
        return Vectors(found["image"], found["text"], fine, fine, found.get(CONCEPTS))

    def _checked(self, shard: Shard, count: int | None) -> tuple[int, int]:
        headers = {view: self.header(shard, view) for view in self.views}
        for view, header in headers.items():
            if header.dtype.kind not in NUMBERS:
                raise MismatchError(f"{self.name(shard, view)} holds {_kind(header.dtype)}, not numbers")
        shapes = {view: header.shape for view, header in headers.items()}
        # Other vectors of the same images may have another dimension, but as many rows.
        two = all(len(shape) == 2 and shape[1] > 0 for shape in shapes.values())
        rows = {shape[0] for shape in shapes.values()} if two else set[int]()
        if len(rows) != 1 or (count is not None and rows != {count}) or shapes["image"] != shapes["text"]:
            expected = "" if count is None else f"{count} rows, "
            raise MismatchError(expected + ", ".join(f"{view} array {shape}" for view, shape in shapes.items()))
        return shapes["image"][1], shapes[CONCEPTS][1] if CONCEPTS in shapes else 0

    @abstractmethod
    def refuse_names(self, shard: Shard) -> None:
        """Refuse a shard whose files have no vectors under the names that are read, by an InputError."""

    @abstractmethod
    def name(self, shard: Shard, view: View) -> str:
        """Return what the vectors of a view are called, in words."""

    @abstractmethod
    def file(self, shard: Shard, view: View) -> VectorFile:
        """Return the file that holds the vectors of a view."""

    @abstractmethod
    def header(self, shard: Shard, view: View) -> ArrayHeader:
        """Return what the vectors of a view say of themselves."""

    @abstractmethod
    def array(self, shard: Shard, view: View, listed: bool = False) -> npt.NDArray[Any]:
        """Return the vectors of a view; `listed` if they were verified before and must have the shard's version."""


@dataclass(frozen=True, slots=True)
class NpzVectors(FileVectors):
    """Arrays of an npz beside a table, as DataComp has them."""

    arrays: Arrays
    concepts: str = ""
    key = "metadata"
    what = "npz"
    names = DATACOMP
    copied = False

    def refuse_names(self, shard: Shard) -> None:
        """Refuse an npz that has arrays of other names only."""
        url = shard.vectors[0].url
        there = array_names(url)
        for view in self.views:
            if (name := self._array_of(view)) not in there:
                key = "concepts.embedding" if view == CONCEPTS else "input.arrays"
                raise InputError(f"{key}: {url} has no array {name}; it has {', '.join(there)}")

    def name(self, shard: Shard, view: View) -> str:
        """Return the array of a view."""
        return f"array {self._array_of(view)}"

    def file(self, shard: Shard, view: View) -> VectorFile:
        """Return the npz."""
        return shard.vectors[0]

    def header(self, shard: Shard, view: View) -> ArrayHeader:
        """Return the header of the array of a view."""
        return array_header(self.file(shard, view).url, self._array_of(view))

    def array(self, shard: Shard, view: View, listed: bool = False) -> npt.NDArray[Any]:
        """Return the array of a view."""
        file = self.file(shard, view)
        return read_array(file.url, self._array_of(view), file.version if listed else None, whole=not listed)

    def _array_of(self, view: View) -> str:
        return self.concepts if view == CONCEPTS else str(getattr(self.arrays, view))


@dataclass(frozen=True, slots=True)
class NpyVectors(FileVectors):
    """Two npy files a table, as clip-retrieval has them: img_emb_N and text_emb_N in folders beside metadata_N's.

    The vectors of concepts are a third one, in a folder of that name.
    """

    concepts: str = ""
    key = "clip_retrieval"
    what = "pair of npy files"
    names = CLIP_RETRIEVAL
    copied = False

    def refuse_names(self, shard: Shard) -> None:
        """Refuse nothing: what a file is called says what it holds."""

    def name(self, shard: Shard, view: View) -> str:
        """Return the base name of the file of a view."""
        return base_name(self.file(shard, view).url)

    def file(self, shard: Shard, view: View) -> VectorFile:
        """Return the file of a view."""
        return shard.vectors[(*SIDES, CONCEPTS).index(view)]

    def header(self, shard: Shard, view: View) -> ArrayHeader:
        """Return the header of the file of a view."""
        return npy_header_of(self.file(shard, view).url)

    def array(self, shard: Shard, view: View, listed: bool = False) -> npt.NDArray[Any]:
        """Return the array in the file of a view."""
        file = self.file(shard, view)
        return read_npy(file.url, file.version if listed else None)


def views_of(concepts: str) -> tuple[View, ...]:
    """Return which vectors rows have, with those of another encoder if `concepts` names them."""
    return (*SIDES, CONCEPTS) if concepts else SIDES


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


def listed_vectors(shard: Shard, view: View, arrays: Arrays, concepts: str = "") -> npt.NDArray[Any]:
    """Return vectors of a shard that has files of them, of the versions that were listed; RunError if they changed.

    `concepts` is the name of the array or folder of the vectors of concepts.
    """
    source: FileVectors = NpyVectors(concepts) if len(shard.vectors) > 1 else NpzVectors(arrays, concepts)
    with deletion_refused(source.file(shard, view).url):
        return source.array(shard, view, listed=True)


def _kind(dtype: np.dtype[Any]) -> str:
    """Return a dtype in words."""
    if dtype.names is None and dtype.kind == "V":
        return f"{dtype.itemsize} raw bytes each, as bfloat16 is stored"
    return "records" if dtype.names is not None else str(dtype)
