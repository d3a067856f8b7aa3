"""The nearest neighbours among the rows of one concept and its replicas: all pairs, each computed once.

Products of blocks, of the kind that this CPU computes fastest, find a few more candidates than asked for; exact
distances rank them. A product of rows i and j serves both: j is offered to i and i to j, so that a replica finds its
neighbours among the concept's rows as they find it.
"""

from dataclasses import replace
from typing import Any

import numpy as np
from numba import njit

from filtering.core.fixed_point import Int16Array, squared_lengths
from filtering.core.step_products import aligned
from filtering.graph.products import (
    BLOCK_ROWS,
    FLOAT32_ROUNDING,
    SPARE_CANDIDATES,
    Coarse,
    Kind,
    Products,
    centre_of,
    centred_rows,
    coarse_products,
    fastest_kind,
    rounding_slack,
)
from filtering.graph.ranking import Float32Array, Int32Array, Int64Array, rank, search_again, unsure_rows

# Columns that are compared with a threshold at once.
STRIPE = 32
# Products held on a GPU at once, in float32: 256 MB.
DEVICE_PRODUCTS = 1 << 26
# A GPU may round the factors of a float32 product to 10 bits (TF32), or to 7 (bfloat16), where it is told to.
DEVICE_ROUNDING = {"highest": FLOAT32_ROUNDING, "high": 2.0**-10, "medium": 2.0**-7}


def member_neighbours(
    steps: Int16Array,
    own: int,
    k: int,
    ids: Int64Array | None = None,
    kind: Kind | None = None,
    device: str = "cpu",
) -> tuple[Int32Array, Float32Array]:
    """Return the k nearest members of each member: of the own rows among all, of the replicas among the own rows.

    Parameters
    ----------
    steps : int16 (m, d)
        Unit-norm rows in steps of 2^-15: the concept's own rows, then its replicas.
    own : int
        How many are the concept's own.
    k : int
        Neighbours of a member.
    ids : int64 (m,), optional
        Different numbers, by which equally far neighbours are ordered; by default their places.
    kind : {"bytes", "steps", "float32"}, optional
        The products that find candidates; by default those that are fastest here.
    device : str
        Where they are computed: cpu, or cuda, in float32; the CPU ranks.

    Returns
    -------
    neighbours : int32 (m, k)
        Places in `steps`, nearest first, -1 where there are fewer than k.
    distances : float32 (m, k)
        Squared Euclidean ones, infinite where there is no neighbour. Neither depends on `kind`, `device` or the CPU.
    """
    steps = aligned(steps)
    ids, squares = np.arange(len(steps)) if ids is None else ids, squared_lengths(steps)
    kind = "float32" if device != "cpu" else kind or fastest_kind(len(steps))
    width = min(k + SPARE_CANDIDATES[kind], max(len(steps) - 1, 1))
    coarse = coarse_products(steps, own, kind)
    if device == "cpu":
        candidates, nearness = nearest_candidates(coarse, own, width)
    else:
        coarse, candidates, nearness = _device_candidates(steps, coarse, own, width, device)
    neighbours = np.full((len(steps), k), -1, dtype=np.int32)
    distances = np.full((len(steps), k), np.inf, dtype=np.float32)
    rank(steps, squares, ids, candidates, neighbours, distances)
    unsure = unsure_rows(coarse, own, width, nearness, distances)
    search_again(coarse, own, unsure, steps, squares, ids, neighbours, distances)
    return neighbours, distances


def nearest_candidates(coarse: Coarse, own: int, width: int) -> tuple[Int32Array, Products]:
    """Return the nearest candidates of each row, nearest first, int32 (m, width), and how near the last ones are."""
    halves, count = coarse.halves, len(coarse.halves)
    found = np.full((count, width), -1, dtype=np.int32)
    lowest = -np.inf if halves.dtype == np.float32 else -(2**30)
    nearness = np.full((count, width), lowest, dtype=halves.dtype)
    for first in range(0, own, BLOCK_ROWS):
        rows = slice(first, min(first + BLOCK_ROWS, own))
        # Blocks of own rows end where the replicas begin, so that no replica is compared with a replica.
        for start in (*range(first, own, BLOCK_ROWS), *range(own, count, BLOCK_ROWS)):
            columns = slice(start, min(start + BLOCK_ROWS, own if start < own else count))
            _offer(coarse.products(rows, columns), rows.start, columns.start, halves, nearness, found)
    return found, nearness[:, -1]


def _device_candidates(
    steps: Int16Array, coarse: Coarse, own: int, width: int, device: str
) -> tuple[Coarse, Int32Array, Float32Array]:
    """Return candidates and how near the last are, by torch on a device, and bounds on what it rounds."""
    import torch

    rows = torch.from_numpy(centred_rows(steps, centre_of(steps, own))).to(device)
    halves = (rows * rows).sum(dim=1) / 2
    found = np.full((len(steps), width), -1, dtype=np.int32)
    nearness = np.full(len(steps), -np.inf, dtype=np.float32)
    for first, last, columns in ((0, own, len(steps)), (own, len(steps), own)):
        count, step = min(width, columns), max(1, DEVICE_PRODUCTS // max(columns, 1))
        for start in range(first, last, step):
            stop = min(start + step, last)
            near = torch.addmm(-halves[:columns], rows[start:stop], rows[:columns].T)
            # No row is its own neighbour; replicas are not among the columns.
            near[:, start:stop].fill_diagonal_(-torch.inf)
            values, places = near.topk(count, dim=1)
            there = torch.where(torch.isinf(values), -1, places)
            found[start:stop, :count] = there.to(torch.int32).cpu().numpy()
            nearness[start:stop] = values[:, -1].cpu().numpy() if count else -np.inf
    rounding = DEVICE_ROUNDING[torch.get_float32_matmul_precision()]
    slack = rounding_slack(steps.shape[1], float(coarse.halves.max(initial=0)), rounding)
    return replace(coarse, slack=slack), found, nearness


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
