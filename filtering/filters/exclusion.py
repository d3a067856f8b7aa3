"""Samples that must not be in a manifest: takedown lists, and images of evaluation sets."""

import contextlib
import hashlib
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from filtering.config.filters import ExcludeFilter
from filtering.config.validation import nearest
from filtering.core.errors import InputError, first_line
from filtering.core.portable_math import largest_products
from filtering.core.uids import SUBSET_DTYPE
from filtering.embedding.artifacts import unit_rows
from filtering.embedding.target_vectors import read_targets
from filtering.filters.stored import keep
from filtering.shards.npy import npy_header
from filtering.shards.parquet import BoundedParquet
from filtering.storage.store import Store, checksum, open_object
from filtering.storage.versions import deletion_refused

LIST_NAME = "{}.exclude.npz"
# The column of `filtering.core.schemas.ROWS` that a list is compared with.
COLUMNS = {"uids": "uid", "urls": "url", "hashes": "sha256"}
KEY_CHARACTERS = 32
HEX = frozenset("0123456789abcdef")

# Yields the image vectors of some rows in blocks: which of the rows, and float16 (b, d).
Blocks = Callable[[], Iterator[tuple[slice, npt.NDArray[np.float16]]]]


def check_exclusion(rule: ExcludeFilter) -> None:
    """Refuse a list that is not there or cannot be read: InputError that names the filter's key."""
    try:
        _read(rule)
    except FileNotFoundError:
        raise InputError(f"filters.exclude.{rule.what}: {rule.source} is not there") from None


def exclusion_identity(rule: ExcludeFilter) -> str:
    """Return what tells a list's content from others, whatever its order; RunError if it was deleted meanwhile."""
    with deletion_refused(rule.source):
        return _identity(_read(rule))


@dataclass(frozen=True, slots=True)
class Exclusion:
    """An object with a list: all workers, and a run that is resumed, read the same one, even if the file changes."""

    store: Store
    name: str
    what: str
    threshold: float = 1.0

    def read(self) -> npt.NDArray[Any]:
        """Return the list: sorted keys, S32 (n,), or vectors of length 1, float32 (n, d)."""
        return self.store.read_arrays(self.name)["listed"]

    def write(self, listed: npt.NDArray[Any]) -> None:
        """Write the list."""
        self.store.write_arrays(self.name, {"listed": listed})


def stored_exclusion(rule: ExcludeFilter, number: int, identity: str, store: Store) -> Exclusion:
    """Write the list of filter `number` unless the store has it, and return it.

    RunError if it is another one than that of `identity`, by which the stage is named, or has been deleted.
    """
    found = Exclusion(store, LIST_NAME.format(number), rule.what, 1.0 if rule.threshold is None else rule.threshold)
    keep(found, rule.source, lambda: _read(rule), _identity, identity)
    return found


def exclusion_passes(rows: pa.Table, exclusion: Exclusion, blocks: Blocks) -> npt.NDArray[np.bool_]:
    """Return which rows are on no list and near no vector of one; bool (n,).

    `rows` has the column that the list is of; where it is null, no list can name the row. `blocks` yields the image
    vectors of these rows. InputError if an older version, which had no such column, embedded the rows.
    """
    listed = _listed(exclusion)
    if exclusion.what == "vectors":
        passes = np.ones(len(rows), dtype=bool)
        for block, vectors in blocks():
            passes[block] = ~_near(unit_rows(vectors), listed, exclusion.threshold)
        return passes
    name = COLUMNS[exclusion.what]
    if name not in rows.column_names:
        raise InputError(
            f"filters.exclude.{exclusion.what}: an older version embedded a part of the pool and noted no {name}; run "
            "it without base, in another output"
        )
    if not len(listed):
        return np.ones(len(rows), dtype=bool)
    keys = np.array(_keys(exclusion.what, rows[name].to_pylist()), dtype=f"S{KEY_CHARACTERS}")
    places = np.searchsorted(listed, keys)
    found = listed[np.minimum(places, len(listed) - 1)] == keys
    return np.asarray(~found, dtype=bool)


def _near(images: npt.NDArray[np.float32], listed: npt.NDArray[Any], threshold: float) -> npt.NDArray[np.bool_]:
    """Return which images have a cosine of at least a threshold with a vector of a list; bool (n,)."""
    if images.shape[1] != listed.shape[1]:
        raise InputError(
            f"filters.exclude.vectors: they have {listed.shape[1]} dimensions, those of the pool {images.shape[1]}"
        )
    return np.asarray(largest_products(images, listed).astype(np.float32) >= np.float32(threshold))


@cache
def _listed(exclusion: Exclusion) -> npt.NDArray[Any]:
    return exclusion.read()


def _identity(listed: npt.NDArray[Any]) -> str:
    return checksum(repr((listed.dtype.str, listed.shape)).encode() + np.ascontiguousarray(listed).tobytes())[:16]


def _read(rule: ExcludeFilter) -> npt.NDArray[Any]:
    """Return the list of a filter: sorted keys, S32 (n,), each once, or vectors of length 1; FileNotFoundError."""
    with _named(rule):
        if rule.what == "vectors":
            return read_targets(rule.source)
        cells = _cells(rule)
        keys = _keys(rule.what, cells)
        for number, key in enumerate(keys):
            if not key:
                raise InputError(f"{rule.source}: entry {number + 1}, {str(cells[number])[:60]}, is {WRONG[rule.what]}")
        return np.unique(np.array(keys, dtype=f"S{KEY_CHARACTERS}"))


WRONG = {"uids": "no uid: 32 hexadecimal digits", "urls": "no URL", "hashes": "no sha256: 64 hexadecimal digits"}


def _cells(rule: ExcludeFilter) -> Sequence[object]:
    """Return the entries of a list: lines of a text, cells of a parquet file, or uids of a subset file of DataComp."""
    url, _, column = rule.source.partition("#")
    if url.endswith(".parquet"):
        return _column(url, column or COLUMNS[rule.what])
    with open_object(url) as stream:
        if url.endswith(".npy"):
            return _subset(url, stream.read())
        text = stream.read().decode("utf-8-sig")
    return [line.strip() for line in text.splitlines() if line.strip()]


def _column(url: str, name: str) -> Sequence[object]:
    with open_object(url) as stream:
        bounded = BoundedParquet(stream, stream.seek(0, io.SEEK_END))
        names = bounded.schema.names
        if names.count(name) != 1:
            raise InputError(f"{url} has {names.count(name) or 'no'} column {name}{nearest(name, names)}")
        bounded.check([name])
        column = bounded.file.read(columns=[name])[name]
    text = pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
    if not text:
        raise InputError(f"column {name} of {url} holds {column.type}, not text")
    cells: list[object] = pc.drop_null(column).to_pylist()
    return cells


def _subset(url: str, data: bytes) -> Sequence[object]:
    header = npy_header(io.BytesIO(data))
    if header.dtype != SUBSET_DTYPE or len(header.shape) != 1:
        raise InputError(f"{url} is no subset file of DataComp: two uint64 a sample")
    halves = np.load(io.BytesIO(data), allow_pickle=False).view("<u8").reshape(-1, 2)
    return [f"{first:016x}{last:016x}" for first, last in halves.tolist()]


def _keys(what: str, cells: Sequence[object]) -> list[bytes]:
    """Return 32 characters for each cell that identify what it names, none of one that names nothing."""
    one = {"uids": _uid_key, "urls": _url_key, "hashes": _hash_key}[what]
    return [one(cell) if isinstance(cell, str) else b"" for cell in cells]


def _uid_key(cell: str) -> bytes:
    return _hex_key(cell, KEY_CHARACTERS)


def _hash_key(cell: str) -> bytes:
    # Half of a sha256 tells images apart as well as a uid tells samples.
    return _hex_key(cell, 64)[:KEY_CHARACTERS]


def _hex_key(cell: str, length: int) -> bytes:
    text = cell.strip().lower()
    return text.encode() if len(text) == length and HEX.issuperset(text) else b""


def _url_key(cell: str) -> bytes:
    url = cell.strip()
    return hashlib.blake2b(url.encode("utf-8", "replace"), digest_size=16).hexdigest().encode() if url else b""


@contextlib.contextmanager
def _named(rule: ExcludeFilter) -> Iterator[None]:
    key = f"filters.exclude.{rule.what}"
    try:
        yield
    except InputError as error:
        raise InputError(f"{key}: {str(error).removeprefix('targets: ')}") from None
    except FileNotFoundError:
        raise
    except (OSError, ValueError, pa.ArrowException) as error:
        raise InputError(f"{key}: {rule.source} cannot be read ({first_line(error)})") from None
