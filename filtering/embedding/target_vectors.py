"""Vectors of a file that images are compared with: targets of a task, or what is to be left out."""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from filtering.config.validation import nearest
from filtering.core.errors import InputError, first_line
from filtering.embedding.artifacts import unit_rows
from filtering.shards.metadata import UnreadableError, array_names, read_array
from filtering.shards.npy import npy_header
from filtering.shards.parquet import BoundedParquet
from filtering.storage.listed import open_listed
from filtering.storage.versions import Version, check_unchanged

Float32Array = npt.NDArray[np.float32]

# The path ends with the first suffix that nothing or a # follows: folders before it and names behind it may hold a #.
FILE = re.compile(r"(.+?\.(?:npy|npz|parquet))(?:#(.*))?", re.DOTALL)
ACCEPTED = "a .npy file of vectors, .npz#NAME, .parquet#COLUMN, or a directory of images"


class TargetFile(NamedTuple):
    """A file of target vectors, and the name of the array or column in it; empty where none is given."""

    url: str
    name: str


def target_file(url: str) -> TargetFile | None:
    """Return the file that targets are read from; None where they are a directory of images."""
    found = FILE.fullmatch(url)
    return TargetFile(found[1], found[2] or "") if found else None


def read_targets(url: str, version: Version | None = None) -> Float32Array:
    """Return target vectors as unit rows, float32 (m, d); nothing is unpickled.

    The URL is a `.npy` file; an array of a `.npz` file, as in ``targets.npz#NAME``; or a column of lists of floats of a
    parquet file, as in ``targets.parquet#COLUMN``. A directory of images is none of these: the caller embeds it.
    InputError if it does not hold finite vectors, all of one length above 0; RunError if the file does not have the
    version, where one is given.
    """
    found = target_file(url)
    if found is None or (found.url.endswith(".npy") and found.name):
        raise InputError(f"targets: {url} is none of what is accepted; give {ACCEPTED}")
    file, name = found
    if file.endswith(".npy"):
        vectors = _npy(file, version)
    elif not name:
        raise InputError(f"targets: {url} does not say which of its vectors; write {file}#NAME")
    else:
        vectors = (_npz if file.endswith(".npz") else _column)(file, name, version)
    targets = _checked(url, vectors)
    if version is not None:
        # An array that is mapped was read by now, after its file was closed.
        check_unchanged({file: version})
    return targets


def _npy(url: str, version: Version | None) -> npt.NDArray[Any]:
    with _readable(url), open_listed(url, version) as stream:
        header, held = npy_header(stream), stream.seek(0, io.SEEK_END)
        if header.start + header.nbytes > held:
            raise ValueError(f"it says that it has the shape {header.shape}, which the file cannot hold")
        stream.seek(0)
        return np.lib.format.read_array(stream, allow_pickle=False)


def _npz(file: str, name: str, version: Version | None) -> npt.NDArray[Any]:
    with _readable(file):
        names = array_names(file, version)
        if name not in names:
            raise InputError(f"targets: {file} has no array {name}{nearest(name, names)}")
        return read_array(file, name, version)


def _column(file: str, name: str, version: Version | None) -> npt.NDArray[Any]:
    with _readable(file), open_listed(file, version) as stream:
        bounded = BoundedParquet(stream, stream.seek(0, io.SEEK_END))
        names = bounded.schema.names
        if names.count(name) != 1:
            raise InputError(f"targets: {file} has {names.count(name) or 'no'} column {name}{nearest(name, names)}")
        bounded.check([name])
        kind = bounded.schema.field(name).type
        lists = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
        if not (lists and pa.types.is_floating(kind.value_type)):
            raise InputError(f"targets: column {name} of {file} holds {kind}; it must hold lists of floats")
        return _matrix(f"{file}#{name}", bounded.file.read(columns=[name])[name])


def _matrix(url: str, column: pa.ChunkedArray) -> npt.NDArray[Any]:
    lengths = np.asarray(pc.unique(pc.list_value_length(column)))
    values = pc.list_flatten(column)
    if column.null_count or values.null_count:
        raise InputError(f"targets: {url} holds nulls; give every row a vector")
    if len(lengths) > 1:
        raise InputError(f"targets: {url} holds lists of {min(lengths)} to {max(lengths)} numbers; give one length")
    shape = (len(column), int(lengths[0]) if len(lengths) else 0)
    matrix: npt.NDArray[Any] = values.to_numpy().reshape(shape)
    return matrix


def _checked(url: str, vectors: npt.NDArray[Any]) -> Float32Array:
    if vectors.ndim != 2 or vectors.size == 0:
        raise InputError(f"targets: {url} has shape {vectors.shape}; it must be (vectors, dimensions), neither 0")
    if not np.issubdtype(vectors.dtype, np.floating):
        raise InputError(f"targets: {url} holds {vectors.dtype}; it must hold floats")
    if not np.isfinite(vectors).all():
        raise InputError(f"targets: {url} holds NaN or infinity; remove these vectors")
    return unit_rows(vectors)


@contextmanager
def _readable(url: str) -> Iterator[None]:
    """Turn errors of reading a file into one line for people."""
    try:
        yield
    except UnreadableError as error:
        raise InputError(f"targets: {error}; give {ACCEPTED}") from None
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(f"targets: {url} is not there; check the path or URL") from None
    except (OSError, EOFError, ValueError, pa.ArrowException) as error:
        raise InputError(f"targets: {url} cannot be read ({first_line(error)}); give {ACCEPTED}") from None
