"""The nearest neighbours among the rows of one concept and its replicas: all pairs, each computed once.

Products of blocks, of bytes where the CPU multiplies them in hardware, find a few more candidates than asked for; sums
of squared differences in float32 rank them. A product of rows i and j serves both: j is offered to i and i to j, so
that a replica finds its neighbours among the concept's rows as they find it.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from filtering.concepts.nearest import Float32Array, Int32Array, offer, squared_distance
from filtering.graph.quantised import Quantised, has_int8_products, rounding_bounds

# Candidates fetched beyond k, so that what rounding moves by a few places is still among those that are ranked.
SPARE_CANDIDATES = 6
# The products of two blocks, 1 MB, stay in a second-level cache.
BLOCK_ROWS = 512
# Smaller concepts are multiplied in float32: there is little to win, and torch need not be imported.
NARROW_ROWS = 2048
# Columns that are compared with a threshold at once.
STRIPE = 32
# Products held on a GPU at once, in float32: 256 MB.
DEVICE_PRODUCTS = 1 << 26

# Products in float32, or in whole steps: int32.
Products = npt.NDArray[Any]
BlockProducts = Callable[[slice, slice], Products]


def narrow(rows: int) -> bool:
    """Say whether a concept of this many rows, replicas included, is searched by products of bytes."""
    return rows >= NARROW_ROWS and has_int8_products()


def member_neighbours(
    vectors: Float32Array, own: int, k: int, coarse: Quantised | None = None, device: str = "cpu"
) -> tuple[Int32Array, Float32Array]:
    """Return the k nearest members of each member: of the own rows among all, of the replicas among the own rows.

    `vectors`, float32 (m, d), are unit-norm: the concept's own rows, then its replicas. Candidates are found by
    `coarse`, the same rows, else in float32, and on `device`: cpu, or cuda, in float32; the CPU ranks them. Neighbours,
    int32 (m, k), are places in `vectors`, nearest first, -1 where there are fewer than k; distances, float32 (m, k),
    are squared Euclidean ones, equal bits from both ends, infinite where there is no neighbour.
    """
    width = min(k + SPARE_CANDIDATES, max(len(vectors) - 1, 1))
    if device != "cpu":
        candidates = _device_candidates(_centred(vectors, own)[0], own, width, device)
    elif coarse is None:
        centred, halves = _centred(vectors, own)
        candidates = _nearest(lambda rows, columns: centred[rows] @ centred[columns].T, halves, own, width)[0]
    else:
        candidates, nearness = _nearest(_byte_products(coarse), coarse.halves, own, width)
        if k < width:
            _search_unsure(vectors, own, _unsure(nearness, candidates, coarse, k), candidates)
    neighbours = np.full((len(vectors), k), -1, dtype=np.int32)
    distances = np.full((len(vectors), k), np.inf, dtype=np.float32)
    _rank(vectors, candidates, neighbours, distances)
    return neighbours, distances


def _centred(vectors: Float32Array, own: int) -> tuple[Float32Array, Float32Array]:
    """Return the rows relative to the mean of the own, where close ones differ in their leading digits."""
    centred = vectors - vectors[:own].mean(axis=0) if own else vectors
    return centred, np.einsum("nd,nd->n", centred, centred) / np.float32(2)


def _nearest(products: BlockProducts, halves: Products, own: int, width: int) -> tuple[Int32Array, Products]:
    """Return the nearest candidates of each row, nearest first, int32 (m, width), and how near they are."""
    count = len(halves)
    found = np.full((count, width), -1, dtype=np.int32)
    lowest = -np.inf if halves.dtype == np.float32 else -(2**30)
    nearness = np.full((count, width), lowest, dtype=halves.dtype)
    for first in range(0, own, BLOCK_ROWS):
        rows = slice(first, min(first + BLOCK_ROWS, own))
        # Blocks of own rows end where the replicas begin, so that no replica is compared with a replica.
        for start in (*range(first, own, BLOCK_ROWS), *range(own, count, BLOCK_ROWS)):
            columns = slice(start, min(start + BLOCK_ROWS, own if start < own else count))
            _offer(products(rows, columns), rows.start, columns.start, halves, nearness, found)
    return found, nearness


def _device_candidates(vectors: Float32Array, own: int, width: int, device: str) -> Int32Array:
    """Return the nearest candidates of each row, int32 (m, width), by torch on a device: blocks of float32 products."""
    import torch

    rows = torch.from_numpy(vectors).to(device)
    halves = (rows * rows).sum(dim=1) / 2
    found = np.full((len(vectors), width), -1, dtype=np.int32)
    for first, last, columns in ((0, own, len(vectors)), (own, len(vectors), own)):
        count, step = min(width, columns), max(1, DEVICE_PRODUCTS // max(columns, 1))
        for start in range(first, last, step):
            stop = min(start + step, last)
            near = torch.addmm(-halves[:columns], rows[start:stop], rows[:columns].T)
            # No row is its own neighbour; replicas are not among the columns.
            near[:, start:stop].fill_diagonal_(-torch.inf)
            values, places = near.topk(count, dim=1)
            there = torch.where(torch.isinf(values), -1, places)
            found[start:stop, :count] = there.to(torch.int32).cpu().numpy()
    return found


def _byte_products(coarse: Quantised) -> BlockProducts:
    import torch

    torch.set_num_threads(1)
    bytes_ = torch.from_numpy(coarse.rows)
    # Blocks are written to the same memory again and again: fresh pages would cost a quarter of the time.
    block = torch.empty(BLOCK_ROWS**2, dtype=torch.int32)

    def products(rows: slice, columns: slice) -> Products:
        shape = (rows.stop - rows.start, columns.stop - columns.start)
        here = block[: shape[0] * shape[1]].view(shape)
        product: Int32Array = torch._int_mm(bytes_[rows], bytes_[columns].T, out=here).numpy()
        return product

    return products


def _unsure(nearness: Products, found: Int32Array, coarse: Quantised, k: int) -> npt.NDArray[np.int64]:
    """Return the rows whose last candidate may be as near as the k-th: rows with many near-duplicates."""
    farthest = nearness[:, k - 1].astype(np.int64)
    bounds = rounding_bounds(2 * (coarse.halves - farthest), coarse.rows.shape[1])
    close = farthest - nearness[:, -1] <= bounds
    return np.flatnonzero(close & (found[:, -1] >= 0))


def _search_unsure(vectors: Float32Array, own: int, unsure: npt.NDArray[np.int64], found: Int32Array) -> None:
    """Find the candidates of some rows anew, in float32."""
    if len(unsure) == 0:
        return
    mean = vectors[:own].mean(axis=0)
    for rows, count in ((unsure[unsure < own], len(vectors)), (unsure[unsure >= own], own)):
        for start in range(0, len(rows), BLOCK_ROWS):
            part = rows[start : start + BLOCK_ROWS]
            found[part] = _precise_candidates(vectors[:count], mean, part, vectors[part], found.shape[1])


def _precise_candidates(
    vectors: Float32Array, mean: Float32Array, rows: npt.NDArray[np.int64], asking: Float32Array, width: int
) -> Int32Array:
    """Return the nearest vectors of some rows, which may stand among them, int32 (n, width)."""
    found = np.full((len(rows), width), -1, dtype=np.int32)
    distances = np.full(found.shape, np.inf, dtype=np.float32)
    centred = asking - mean
    for first in range(0, len(vectors), BLOCK_ROWS):
        # Block by block: all rows, centred, would be written to fresh pages, which takes longer than the search.
        block = vectors[first : first + BLOCK_ROWS] - mean
        values = np.einsum("nd,nd->n", block, block) / np.float32(2) - centred @ block.T
        here = np.flatnonzero((rows >= first) & (rows < first + len(block)))
        values[here, rows[here] - first] = np.inf
        offer(values, np.arange(len(rows)), first, found, distances)
    return found


@njit(cache=True, fastmath={"nnan", "nsz", "reassoc"})  # type: ignore[untyped-decorator]
def _offer(products: Products, first: int, start: int, halves: Products, nearness: Products, found: Int32Array) -> None:
    """Offer the columns to the rows and, unless the block is on the diagonal, the rows to the columns.

    The nearness of j to i is <i, j> - |j|^2 / 2: the larger, the smaller their distance.
    """
    rows, columns = products.shape
    last = nearness.shape[1] - 1
    diagonal = first == start
    half = halves[start : start + columns]
    # The column's threshold, so that one comparison with |i|^2 / 2 tells whether a row may enter any of a stripe.
    worst = nearness[start : start + columns, last].copy()
    lowest = products.dtype.type(-(2**30))
    whole = columns // STRIPE * STRIPE
    for row in range(rows):
        own, mine = first + row, halves[first + row]
        threshold = nearness[own, last]
        for left in range(0, whole, STRIPE):
            # One loop of a length known to the compiler, for both: it decides the speed of the whole search.
            nearest, gain = lowest, lowest
            for at in range(left, left + STRIPE):
                nearest = max(nearest, products.dtype.type(products[row, at] - half[at]))
                gain = max(gain, products.dtype.type(products[row, at] - worst[at]))
            if nearest > threshold:
                for at in range(left, left + STRIPE):
                    value = products.dtype.type(products[row, at] - half[at])
                    if value > threshold and start + at != own:
                        _insert(nearness, found, own, value, start + at)
                        threshold = nearness[own, last]
            if gain > mine and not diagonal:
                for at in range(left, left + STRIPE):
                    value = products.dtype.type(products[row, at] - mine)
                    if value > worst[at]:
                        _insert(nearness, found, start + at, value, own)
                        worst[at] = nearness[start + at, last]
        for at in range(whole, columns):
            value = products.dtype.type(products[row, at] - half[at])
            if value > threshold and start + at != own:
                _insert(nearness, found, own, value, start + at)
                threshold = nearness[own, last]
            value = products.dtype.type(products[row, at] - mine)
            if value > worst[at] and not diagonal:
                _insert(nearness, found, start + at, value, own)
                worst[at] = nearness[start + at, last]


@njit(cache=True)  # type: ignore[untyped-decorator]
def _insert(nearness: Products, found: Int32Array, row: int, value: Any, place: int) -> None:
    at = nearness.shape[1] - 1
    while at > 0 and nearness[row, at - 1] < value:
        nearness[row, at] = nearness[row, at - 1]
        found[row, at] = found[row, at - 1]
        at -= 1
    nearness[row, at] = value
    found[row, at] = place


@njit(cache=True)  # type: ignore[untyped-decorator]
def _rank(vectors: Float32Array, candidates: Int32Array, neighbours: Int32Array, distances: Float32Array) -> None:
    """Keep the k nearest candidates of each row by exact distance; equally far ones by their place."""
    k = neighbours.shape[1]
    for row in range(len(vectors)):
        for candidate in candidates[row]:
            if candidate < 0:
                break
            apart = squared_distance(vectors[row], vectors[candidate])
            at = k - 1
            if apart > distances[row, at] or (apart == distances[row, at] and candidate > neighbours[row, at]):
                continue
            while at > 0 and (
                apart < distances[row, at - 1]
                or (apart == distances[row, at - 1] and candidate < neighbours[row, at - 1])
            ):
                distances[row, at] = distances[row, at - 1]
                neighbours[row, at] = neighbours[row, at - 1]
                at -= 1
            distances[row, at] = apart
            neighbours[row, at] = candidate
