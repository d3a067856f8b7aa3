"""The kNN graph as a value: CSR arrays, symmetric, without self loops."""

from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from numba import njit

from filtering.core.errors import InputError

Int64Array = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.floating[Any]]
Whole = TypeVar("Whole", bound=np.integer[Any])
Length = TypeVar("Length", bound=np.floating[Any])


@dataclass(frozen=True, slots=True, eq=False)
class KnnGraph:  # A dataclass takes what its fields are. numpydoc ignore=PR02
    """An undirected kNN graph of n nodes in CSR form, checked when it is built.

    Parameters
    ----------
    indptr : int64 (n + 1,)
        Row i's neighbours are ``indices[indptr[i]:indptr[i + 1]]``.
    indices : int64 (nnz,)
        Neighbour ids in [0, n).
    distances : float (nnz,)
        Squared Euclidean distances, finite and not negative, equal in both directions.

    Raises
    ------
    InputError
        If the arrays do not describe a symmetric graph without self loops or repeated edges.
    """

    indptr: Int64Array
    indices: Int64Array
    distances: FloatArray

    def __post_init__(self) -> None:
        """Bring the arrays to their dtypes, read-only, and check every property."""
        object.__setattr__(self, "indptr", _whole_numbers("indptr", self.indptr))
        object.__setattr__(self, "indices", _whole_numbers("indices", self.indices))
        object.__setattr__(self, "distances", _distances(self.distances))
        _check_shape(self.indptr, self.indices, self.distances)
        _check_edges(self.indptr, self.indices, self.distances)

    @property
    def nodes(self) -> int:
        """Number of nodes n."""
        return len(self.indptr) - 1

    @property
    def degrees(self) -> Int64Array:
        """Number of neighbours of each node, int64 (n,)."""
        return np.diff(self.indptr)


def cosines(distances: FloatArray) -> npt.NDArray[np.float64]:
    """Return the cosines of unit vectors from their squared Euclidean distances, float64 of the same shape."""
    return 1 - distances.astype(np.float64) / 2


def symmetrised(sources: Int64Array, targets: Int64Array, distances: FloatArray, nodes: int) -> KnnGraph:
    """Return the union of directed edges (m,) between nodes in [0, `nodes`) and their reverses; no self loops.

    Distances are squared Euclidean, float (m,). An edge seen more than once keeps its smallest distance.
    """
    apart = sources != targets
    sources, targets, distances = sources[apart], targets[apart], distances[apart]
    rows = np.concatenate([sources, targets])
    columns = np.concatenate([targets, sources])
    return KnnGraph(*sorted_edges(rows, columns, np.concatenate([distances, distances]), nodes))


def sorted_edges(
    rows: Int64Array, columns: Int64Array, distances: npt.NDArray[Length], nodes: int
) -> tuple[Int64Array, Int64Array, npt.NDArray[Length]]:
    """Return edges (m,) as CSR arrays: sorted by row and column, the shortest of repeated edges alone.

    Rows lie in [0, `nodes`); columns are ids of any kind.
    """
    order, starts = grouped(rows, nodes)
    columns, distances = columns[order], distances[order]
    kept = np.zeros(nodes, dtype=np.int64)
    _sort_rows(starts, columns, distances, kept)
    first = np.repeat(starts[:-1], kept) + _counted(kept)
    return _pointers(kept), columns[first], distances[first]


def grouped(rows: Int64Array, nodes: int) -> tuple[Int64Array, Int64Array]:
    """Return the stable order that brings equal rows together, int64 (m,), and each row's start, int64 (nodes + 1,).

    Rows are int64 (m,), in [0, `nodes`).
    """
    starts = row_pointers(rows, nodes)
    order = np.empty(len(rows), dtype=np.int64)
    _counting_sort(np.ascontiguousarray(rows), starts[:-1].copy(), order)
    return order, starts


def distinct(ids: npt.NDArray[Whole]) -> npt.NDArray[Whole]:
    """Return the different ones of some whole numbers, ascending, (m,) of their dtype."""
    # np.unique puts whole numbers into a hash table first, and takes 40 times as long.
    ascending = np.sort(ids)
    return ascending[np.r_[True, ascending[1:] != ascending[:-1]]] if len(ids) else ascending


def distinct_ids(ids: Int64Array) -> Int64Array:
    """Return the different ones of ids, int64 (n,) of at least 0, ascending; faster where many repeat."""
    bits = max(1, (2 * len(ids) - 1).bit_length())
    found = np.empty_like(ids)
    count = _first_seen(ids, np.full(1 << bits, -1, dtype=np.int64), bits, found)
    return np.sort(found[:count])


@njit(cache=True)  # type: ignore[untyped-decorator]
def _first_seen(ids: Int64Array, table: Int64Array, bits: int, found: Int64Array) -> int:
    """Write each id where it is seen first to `found`, by an open-addressing hash table; return how many there are."""
    mask, shift, count = (1 << bits) - 1, np.uint64(64 - bits), 0
    for at in range(len(ids)):
        slot = np.int64((np.uint64(ids[at]) * np.uint64(0x9E3779B97F4A7C15)) >> shift)
        while table[slot] >= 0 and table[slot] != ids[at]:
            slot = (slot + 1) & mask
        if table[slot] < 0:
            table[slot] = found[count] = ids[at]
            count += 1
    return count


def inverse_order(order: Int64Array) -> Int64Array:
    """Return where each place stands in an order of all places, int64 (n,)."""
    places = np.empty(len(order), dtype=np.int64)
    places[order] = np.arange(len(order))
    return places


def row_pointers(rows: Int64Array, nodes: int) -> Int64Array:
    """Return CSR's indptr, int64 (nodes + 1,), of the rows of edges, in [0, `nodes`)."""
    return _pointers(np.bincount(rows, minlength=nodes))


def _pointers(counts: Int64Array) -> Int64Array:
    indptr = np.zeros(len(counts) + 1, dtype=np.int64)
    np.cumsum(counts, out=indptr[1:])
    return indptr


def _whole_numbers(name: str, values: npt.ArrayLike) -> Int64Array:
    array = np.asarray(values)
    if array.ndim != 1:
        raise InputError(f"graph: {name} must have one dimension, got shape {array.shape}")
    if array.size and not np.issubdtype(array.dtype, np.integer):
        raise InputError(f"graph: {name} must hold whole numbers, got {array.dtype}")
    whole: Int64Array = _read_only(array.astype(np.int64, copy=False))
    return whole


def _distances(values: npt.ArrayLike) -> FloatArray:
    array = np.asarray(values)
    if array.dtype not in (np.float32, np.float64):
        array = array.astype(np.float64)
    if array.ndim != 1:
        raise InputError(f"graph: distances must have one dimension, got shape {array.shape}")
    if not np.isfinite(array).all() or (array < 0).any():
        raise InputError("graph: distances must be finite and not negative")
    checked: FloatArray = _read_only(array)
    return checked


def _read_only(array: Any) -> Any:
    # A copy: what the caller does to its arrays later must not change the graph.
    own = array.copy()
    own.flags.writeable = False
    return own


def _check_shape(indptr: Int64Array, indices: Int64Array, distances: FloatArray) -> None:
    if len(indptr) == 0 or indptr[0] != 0 or (np.diff(indptr) < 0).any():
        raise InputError("graph: indptr must start at 0 and never decrease")
    if indptr[-1] != len(indices) or len(indices) != len(distances):
        raise InputError(
            f"graph: indptr ends at {indptr[-1]}, but there are {len(indices)} indices and {len(distances)} distances"
        )


def _check_edges(indptr: Int64Array, indices: Int64Array, distances: FloatArray) -> None:
    nodes = len(indptr) - 1
    if len(indices) and (indices.min() < 0 or indices.max() >= nodes):
        raise InputError(f"graph: indices must lie in 0..{nodes - 1}")
    rows = np.repeat(np.arange(nodes), np.diff(indptr))
    if (rows == indices).any():
        node = rows[rows == indices][0]
        raise InputError(f"graph: node {node} has an edge to itself")
    backward = _transposed(rows, indices, distances, nodes)
    forward = _transposed(np.repeat(np.arange(nodes), np.diff(backward[0])), *backward[1:], nodes)
    if ((forward[1][1:] == forward[1][:-1]) & (rows[1:] == rows[:-1])).any():
        raise InputError("graph: an edge is listed twice")
    if not (np.array_equal(forward[0], backward[0]) and np.array_equal(forward[1], backward[1])):
        raise InputError("graph: not symmetric, some edge i -> j has no edge j -> i")
    if not np.allclose(forward[2], backward[2], rtol=1e-5, atol=1e-8):
        raise InputError("graph: not symmetric, some distance i -> j differs from j -> i")


def _counted(counts: Int64Array) -> Int64Array:
    """Return 0, 1, ... for each count, one after the other."""
    starts = np.cumsum(counts) - counts
    return np.arange(int(counts.sum())) - np.repeat(starts, counts)


# Kernels of the package make no array: numpy's functions take numba seconds to compile, on every machine anew.


@njit(cache=True)  # type: ignore[untyped-decorator]
def _counting_sort(rows: Int64Array, place: Int64Array, order: Int64Array) -> None:
    for at in range(len(rows)):
        order[place[rows[at]]] = at
        place[rows[at]] += 1


@njit(cache=True)  # type: ignore[untyped-decorator]
def _sort_rows(starts: Int64Array, columns: Int64Array, distances: FloatArray, kept: Int64Array) -> None:
    """Sort each row by column in place (Shell's sort), the shortest of repeated edges first; `kept` are distinct."""
    for row in range(len(kept)):
        first, end, gap = starts[row], starts[row + 1], 1
        while 3 * gap + 1 < end - first:
            gap = 3 * gap + 1
        while gap > 0:
            for at in range(first + gap, end):
                to, column, length = at, columns[at], distances[at]
                while to - gap >= first and columns[to - gap] > column:
                    columns[to], distances[to] = columns[to - gap], distances[to - gap]
                    to -= gap
                columns[to], distances[to] = column, length
            gap //= 3
        last = first - 1
        for at in range(first, end):
            if last >= first and columns[last] == columns[at]:
                distances[last] = min(distances[last], distances[at])
            else:
                last += 1
                columns[last], distances[last] = columns[at], distances[at]
        kept[row] = last + 1 - first


def _transposed(
    rows: Int64Array, indices: Int64Array, distances: FloatArray, nodes: int
) -> tuple[Int64Array, Int64Array, FloatArray]:
    """Transpose edges, ascending by row, by counting; CSR whose rows are sorted."""
    order, starts = grouped(indices, nodes)
    return starts, rows[order], distances[order]
