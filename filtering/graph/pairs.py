"""The nearest neighbours among the rows of one concept and its guests: all pairs, each computed once.

Products of blocks, in bfloat16 where the CPU has it, find a few more candidates than asked for; sums of squared
differences in float32 rank them. A product of rows i and j serves both: j is offered to i and i to j, so that a guest
finds its neighbours among the concept's rows as they find it.
"""

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from filtering.concepts.nearest import Float32Array, Int32Array, offer, squared_distance

# Candidates fetched beyond k, so that what rounding moves by a few places is still among those that are ranked.
SPARE_CANDIDATES = 6
# What bfloat16 rounds away, relative to a product.
BFLOAT16_ERROR = 2.0**-8
BLOCK_ROWS = 1024
# Smaller concepts are multiplied in float32: there is little to win, and torch need not be imported.
NARROW_ROWS = 2048
# Columns that are compared with a threshold at once.
STRIPE = 32

Products = Callable[[slice, slice], Float32Array]


def member_neighbours(vectors: Float32Array, own: int, k: int) -> tuple[Int32Array, Float32Array]:
    """Return the k nearest members of each member: of the own rows among all, of the guests among the own rows.

    Parameters
    ----------
    vectors : float32 (m, d)
        Unit-norm rows: the concept's own, then its guests.
    own : int
        How many are its own.
    k : int

    Returns
    -------
    neighbours : int32 (m, k)
        Places in `vectors`, nearest first; -1 where there are fewer than k.
    distances : float32 (m, k)
        Squared Euclidean distances, equal bits from both ends; infinite where there is no neighbour.
    """
    candidates = _candidates(vectors, own, k)
    neighbours = np.full((len(vectors), k), -1, dtype=np.int32)
    distances = np.full((len(vectors), k), np.inf, dtype=np.float32)
    _rank(vectors, candidates, neighbours, distances)
    return neighbours, distances


def _candidates(vectors: Float32Array, own: int, k: int) -> Int32Array:
    # Relative to their mean, close rows differ in their leading digits.
    centred = vectors - vectors[:own].mean(axis=0) if own else vectors
    halves = np.einsum("nd,nd->n", centred, centred) / np.float32(2)
    products = _block_products(centred)
    width = min(k + SPARE_CANDIDATES, max(len(vectors) - 1, 1))
    found = np.full((len(vectors), width), -1, dtype=np.int32)
    nearness = np.full((len(vectors), width), -np.inf, dtype=np.float32)
    for first in range(0, own, BLOCK_ROWS):
        rows = slice(first, min(first + BLOCK_ROWS, own))
        for start in range(first, len(vectors), BLOCK_ROWS):
            columns = slice(start, min(start + BLOCK_ROWS, len(vectors)))
            # Blocks of own rows end where the guests begin, so that no guest is compared with a guest.
            if start < own < columns.stop:
                for part in (slice(start, own), slice(own, columns.stop)):
                    _offer(products(rows, part), rows.start, part.start, halves, nearness, found)
            else:
                _offer(products(rows, columns), rows.start, columns.start, halves, nearness, found)
    if _narrow(len(centred)) and k < width:
        unsure = _unsure(nearness, found, halves, k)
        for asking in (unsure[unsure < own], unsure[unsure >= own]):
            _search_precisely(centred, halves, asking, own, found)
    return found


def _unsure(nearness: Float32Array, found: Int32Array, halves: Float32Array, k: int) -> npt.NDArray[np.int64]:
    """Return the rows whose last candidate is as near as the k-th, to bfloat16: rows with many near-duplicates."""
    products = nearness[:, k - 1] + halves[found[:, k - 1]]
    full = found[:, -1] >= 0
    with np.errstate(invalid="ignore"):
        close = nearness[:, k - 1] - nearness[:, -1] <= BFLOAT16_ERROR * np.abs(products)
    return np.flatnonzero(close & full)


def _search_precisely(
    centred: Float32Array, halves: Float32Array, rows: npt.NDArray[np.int64], own: int, found: Int32Array
) -> None:
    """Find the candidates of some rows, all own or all guests, in float32."""
    if len(rows) == 0:
        return
    count = len(centred) if rows[0] < own else own
    for start in range(0, len(rows), BLOCK_ROWS):
        part = rows[start : start + BLOCK_ROWS]
        precise = np.full((len(part), found.shape[1]), -1, dtype=np.int32)
        distances = np.full(precise.shape, np.inf, dtype=np.float32)
        for first in range(0, count, BLOCK_ROWS):
            columns = slice(first, min(first + BLOCK_ROWS, count))
            values = halves[columns] - centred[part] @ centred[columns].T
            here = np.flatnonzero((part >= columns.start) & (part < columns.stop))
            values[here, part[here] - columns.start] = np.inf
            offer(values, np.arange(len(part)), first, precise, distances)
        found[part] = precise


def _block_products(vectors: Float32Array) -> Products:
    if not _narrow(len(vectors)):
        return lambda rows, columns: vectors[rows] @ vectors[columns].T
    import torch

    torch.set_num_threads(1)
    narrow = torch.from_numpy(vectors).to(torch.bfloat16)
    # Blocks are written to the same memory again and again: fresh pages would cost a quarter of the time.
    block, wide = (torch.empty(BLOCK_ROWS**2, dtype=dtype) for dtype in (torch.bfloat16, torch.float32))

    def products(rows: slice, columns: slice) -> Float32Array:
        shape = (rows.stop - rows.start, columns.stop - columns.start)
        here, there = (memory[: shape[0] * shape[1]].view(shape) for memory in (block, wide))
        product: Float32Array = there.copy_(torch.mm(narrow[rows], narrow[columns].T, out=here)).numpy()
        return product

    return products


def _narrow(rows: int) -> bool:
    return rows >= NARROW_ROWS and has_bfloat16()


@lru_cache
def has_bfloat16() -> bool:
    """Say whether this CPU multiplies bfloat16 in hardware (AVX-512 BF16 or AMX): elsewhere float32 is faster."""
    try:
        flags = next(line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("flags"))
    except (OSError, StopIteration):
        return False
    return not {"avx512_bf16", "amx_bf16"}.isdisjoint(flags.split())


@njit(cache=True, fastmath={"nnan", "nsz", "reassoc"})  # type: ignore[untyped-decorator]
def _largest(values: Float32Array, minus: Float32Array) -> Any:
    largest = np.float32(-np.inf)
    for at in range(len(values)):
        largest = max(largest, values[at] - minus[at])
    return largest


@njit(cache=True)  # type: ignore[untyped-decorator]
def _offer(
    products: Float32Array, first: int, start: int, halves: Float32Array, nearness: Float32Array, found: Int32Array
) -> None:
    """Offer the columns to the rows and, unless the block is on the diagonal, the rows to the columns.

    The nearness of j to i is <i, j> - |j|^2 / 2: the larger, the smaller their distance.
    """
    rows, columns = products.shape
    width = nearness.shape[1]
    diagonal = first == start
    half = halves[start : start + columns]
    # The column's threshold, so that one comparison with |i|^2 / 2 tells whether a row may enter any of a stripe.
    worst = nearness[start : start + columns, width - 1].copy()
    for row in range(rows):
        own = first + row
        threshold = nearness[own, width - 1]
        for left in range(0, columns, STRIPE):
            right = min(left + STRIPE, columns)
            stripe = products[row, left:right]
            if _largest(stripe, half[left:right]) > threshold:
                for at in range(left, right):
                    value = products[row, at] - half[at]
                    if value > threshold and start + at != own:
                        _insert(nearness[own], found[own], value, start + at)
                        threshold = nearness[own, width - 1]
            if not diagonal and _largest(stripe, worst[left:right]) > halves[own]:
                for at in range(left, right):
                    value = products[row, at] - halves[own]
                    if value > worst[at]:
                        _insert(nearness[start + at], found[start + at], value, own)
                        worst[at] = nearness[start + at, width - 1]


@njit(cache=True)  # type: ignore[untyped-decorator]
def _insert(values: Float32Array, places: Int32Array, value: np.float32, place: int) -> None:
    at = len(values) - 1
    while at > 0 and values[at - 1] < value:
        values[at] = values[at - 1]
        places[at] = places[at - 1]
        at -= 1
    values[at] = value
    places[at] = place


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
