"""Centroids as objects: their steps in an array that is mapped, what is known of each beside it.

Millions of centroids take gigabytes. They are written part by part, and mapped where they are read: tasks of one
machine share the pages of a disk. From an object store each process copies them once, to a temporary file.
"""

import hashlib
import mmap
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from filtering.concepts.nearest import CentroidIndex, Centroids, Int16Array
from filtering.core.fixed_point import in_steps
from filtering.storage import checksums
from filtering.storage.store import Store, commit_file, read_range
from filtering.storage.urls import is_local
from filtering.storage.versions import Version, version_of

STEPS_NAME, KNOWN_NAME = "{}.steps.npy", "{}.npz"
COPIED_AT_ONCE = 64 << 20


def write_centroids(store: Store, name: str, parts: Iterable[Centroids]) -> int:
    """Write centroids, of which one part is in memory at a time; return how many there are.

    The digest of all steps stands beside them, so that one object tells which centroids they are.
    """
    known: list[dict[str, npt.NDArray[Any]]] = []
    digest, url = hashlib.sha256(), store.path(STEPS_NAME.format(name))

    def steps() -> Iterator[Int16Array]:
        for part in parts:
            arrays = asdict(part)
            rows = arrays.pop("steps")
            digest.update(rows)
            known.append(arrays)
            yield rows

    with tempfile.TemporaryDirectory(prefix="filtering-", ignore_cleanup_errors=True) as folder:
        path = Path(folder) / "steps.npy"
        _write_rows(path, steps())
        checksums.fill_file(url, path)
        commit_file(url, str(path))
    joined = {key: np.concatenate([arrays[key] for arrays in known]) for key in known[0]}
    store.write_arrays(KNOWN_NAME.format(name), joined | {"sum": np.frombuffer(digest.digest(), dtype=np.uint8)})
    return len(joined["groups"])


def read_centroids_named(store: Store, name: str) -> Centroids:
    """Return the centroids of a name; those of an older version, float32, are rounded to steps."""
    known = store.read_arrays(KNOWN_NAME.format(name))
    if "vectors" in known:
        none = np.zeros((len(known["groups"]), 0), dtype=np.int32)
        return Centroids(in_steps(known["vectors"]), known["groups"], known["spreads"], none)
    return Centroids(_mapped(store, STEPS_NAME.format(name)), known["groups"], known["spreads"], known["branches"])


def index_named(store: Store, name: str) -> tuple[Centroids, CentroidIndex]:
    """Return the centroids of a name and their index, made once in a process as long as they stay the same."""
    url = store.path(KNOWN_NAME.format(name))
    try:
        return _index(store.url, name, version_of(url))
    except FileNotFoundError as error:
        raise error if isinstance(error, checksums.MissingError) else checksums.MissingError(url) from None


def is_in_steps(store: Store, name: str) -> bool:
    """Return whether this version, rather than an older one, wrote the centroids of a name."""
    return "vectors" not in store.read_arrays(KNOWN_NAME.format(name))


@lru_cache(maxsize=1)
def _index(url: str, name: str, version: Version) -> tuple[Centroids, CentroidIndex]:
    centroids = read_centroids_named(Store(url), name)
    return centroids, CentroidIndex(centroids)


def _write_rows(path: Path, parts: Iterator[Int16Array]) -> None:
    """Write an npy with an empty slot for its checksum; its header is written again when the number is known."""
    count, width = 0, 0
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, _header(0, 0))
        for part in parts:
            count, width = count + len(part), part.shape[1]
            file.write(np.ascontiguousarray(part).data)
        file.write(checksums.PLAIN_SLOT)
        file.seek(0)
        np.lib.format.write_array_header_1_0(file, _header(count, width))


def _header(count: int, width: int) -> dict[str, object]:
    return {"descr": "<i2", "fortran_order": False, "shape": (count, width)}


def _mapped(store: Store, name: str) -> Int16Array:
    url = store.path(name)
    if is_local(url):
        return np.asarray(store.read_array(name))
    # Without a name the copy is gone with the process.
    with tempfile.TemporaryFile(prefix="filtering-") as file:
        _copy(url, file)
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    checksums.check(url, data)
    np.lib.format.read_magic(data)
    shape, _, dtype = np.lib.format.read_array_header_1_0(data)
    return np.frombuffer(data, dtype=dtype, count=shape[0] * shape[1], offset=data.tell()).reshape(shape)


def _copy(url: str, file: BinaryIO) -> None:
    try:
        for start in range(0, version_of(url).size, COPIED_AT_ONCE):
            file.write(read_range(url, start, start + COPIED_AT_ONCE))
    except FileNotFoundError:
        raise checksums.MissingError(url) from None
    file.flush()
