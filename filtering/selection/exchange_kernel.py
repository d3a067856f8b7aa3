"""The compiled loops of an exchange of picks: the greedy of one concept among picks that other concepts have made.

A pick's time is a path of keys. A key is a score and a global row, and is ahead of one with a lower score or, where
scores are equal, a higher row. While scores only fall, the greedy picks keys in falling order, and the path is the key
itself. A pick with a score below 0 raises its neighbours, and those raised above its key are picked right after it:
their paths are its path and their own keys. Paths in lexicographic order, a path before what goes on from it, are the
order of the greedy over the whole pool, and follow from a node's neighbours alone.
"""

from typing import Any

import numpy.typing as npt
from numba import njit

from filtering.core.csr import FloatArray, Int64Array
from filtering.selection.kernel import Float64Array, edge_weight

FULL = -1


@njit(cache=True)  # type: ignore[untyped-decorator]
def _ahead(value: float, row: int, other: float, other_row: int) -> bool:
    return bool(value > other or (value == other and row < other_row))


@njit(cache=True)  # type: ignore[untyped-decorator]
def _earlier(a: int, b: int, starts: Int64Array, values: Float64Array, rows: Int64Array) -> bool:
    """Return whether one time is before another."""
    first, second = starts[a], starts[b]
    while first < starts[a + 1] and second < starts[b + 1]:
        if values[first] != values[second] or rows[first] != rows[second]:
            return bool(_ahead(values[first], rows[first], values[second], rows[second]))
        first, second = first + 1, second + 1
    return bool(first == starts[a + 1] and second < starts[b + 1])


@njit(cache=True)  # type: ignore[untyped-decorator]
def sort_times(
    order: Int64Array, spare: Int64Array, starts: Int64Array, values: Float64Array, rows: Int64Array
) -> None:
    """Sort times, places in `order`, int64 (t,), from the earliest on; `spare` is as long."""
    width, count = 1, len(order)
    while width < count:
        for first in range(0, count, 2 * width):
            left, middle, end = first, min(first + width, count), min(first + 2 * width, count)
            right = middle
            for at in range(first, end):
                if left < middle and (right >= end or not _earlier(order[right], order[left], starts, values, rows)):
                    spare[at] = order[left]
                    left += 1
                else:
                    spare[at] = order[right]
                    right += 1
        order[:] = spare
        width *= 2


@njit(cache=True)  # type: ignore[untyped-decorator]
def sort_events(
    order: Int64Array,
    end_of: Int64Array,
    end_starts: Int64Array,
    end_edges: Int64Array,
    edge_concept: Int64Array,
    fill: Int64Array,
    events: Int64Array,
    event_time: Int64Array,
) -> None:
    """Write the border's edges from picks to `events`, those of each concept together, in the order of the picks.

    `order` has the times in order, `end_of` the end of the border that each is a pick of; `end_starts` and `end_edges`
    list the edges of each end. `fill`, int64 (k,), is where the next event of each concept goes.
    """
    for time in order:
        end = end_of[time]
        for place in range(end_starts[end], end_starts[end + 1]):
            edge = end_edges[place]
            concept = edge_concept[edge]
            events[fill[concept]] = edge
            event_time[fill[concept]] = time
            fill[concept] += 1


@njit(cache=True)  # type: ignore[untyped-decorator]
def _before(x: Float64Array, rows: Int64Array, a: int, b: int) -> bool:
    return bool(x[a] > x[b] or (x[a] == x[b] and rows[a] < rows[b]))


@njit(cache=True)  # type: ignore[untyped-decorator]
def _rise(heap: Int64Array, place: Int64Array, x: Float64Array, rows: Int64Array, at: int) -> int:
    node = heap[at]
    while at > 0:
        parent = (at - 1) >> 1
        if not _before(x, rows, node, heap[parent]):
            break
        heap[at] = heap[parent]
        place[heap[at]] = at
        at = parent
    heap[at] = node
    place[node] = at
    return at


@njit(cache=True)  # type: ignore[untyped-decorator]
def _sink(heap: Int64Array, place: Int64Array, x: Float64Array, rows: Int64Array, at: int, size: int) -> None:
    node = heap[at]
    while True:
        child = 2 * at + 1
        if child >= size:
            break
        if child + 1 < size and _before(x, rows, heap[child + 1], heap[child]):
            child += 1
        if not _before(x, rows, heap[child], node):
            break
        heap[at] = heap[child]
        place[heap[at]] = at
        at = child
    heap[at] = node
    place[node] = at


@njit(cache=True)  # type: ignore[untyped-decorator]
def _ghost_first(
    key: float,
    row: int,
    below: int,
    stack_values: Float64Array,
    stack_rows: Int64Array,
    start: int,
    end: int,
    values: Float64Array,
    rows: Int64Array,
) -> bool:
    """Return whether the time at [start, end) is before that of a key on top of `below` keys of the stack."""
    for at in range(below):
        if start + at >= end:
            return True
        if values[start + at] != stack_values[at] or rows[start + at] != stack_rows[at]:
            return bool(_ahead(values[start + at], rows[start + at], stack_values[at], stack_rows[at]))
    return bool(start + below >= end or _ahead(values[start + below], rows[start + below], key, row))


@njit(cache=True)  # type: ignore[untyped-decorator]
def _shared(
    depth: int,
    stack_values: Float64Array,
    stack_rows: Int64Array,
    start: int,
    end: int,
    values: Float64Array,
    rows: Int64Array,
) -> int:
    """Return how many keys of the stack are the first ones of the time at [start, end), without its last."""
    same = 0
    while same < min(depth, end - start - 1):
        if values[start + same] != stack_values[same] or rows[start + same] != stack_rows[same]:
            break
        same += 1
    return same


@njit(cache=True)  # type: ignore[untyped-decorator]
def _weigh(
    node: int,
    weight: float,
    value: float,
    chance: float,
    novel: bool,
    x: Float64Array,
    p: Float64Array,
    worth: Float64Array,
    nu: Float64Array,
    heap: Int64Array,
    place: Int64Array,
    rows: Int64Array,
    size: int,
) -> None:
    """Let a pick of this score, right with this chance, weigh on a node that is not picked."""
    if novel:
        nu[node] *= 1.0 - chance * weight
        x[node] = worth[node] * nu[node] - (1.0 - p[node])
    else:
        x[node] -= weight * value
    _sink(heap, place, x, rows, _rise(heap, place, x, rows, place[node]), size)


@njit(cache=True)  # type: ignore[untyped-decorator]
def pick_among(
    first: int,
    last: int,
    budget: int,
    level: float,
    indptr: Int64Array,
    indices: npt.NDArray[Any],
    distances: FloatArray,
    edge_node: npt.NDArray[Any],
    edge_end: npt.NDArray[Any],
    edge_distances: FloatArray,
    leaving: Int64Array,
    end_p: Float64Array,
    events: Int64Array,
    event_time: Int64Array,
    at: int,
    until: int,
    starts: Int64Array,
    values: Float64Array,
    key_rows: Int64Array,
    key_nodes: Int64Array,
    rows: Int64Array,
    x: Float64Array,
    p: Float64Array,
    worth: Float64Array,
    nu: Float64Array,
    novel: bool,
    gamma: float,
    root: bool,
    unit: float,
    every: bool,
    heap: Int64Array,
    place: Int64Array,
    stack_values: Float64Array,
    stack_rows: Int64Array,
    picks: Int64Array,
    pick_ends: Int64Array,
    path_values: Float64Array,
    path_rows: Int64Array,
    used: int,
) -> int:
    """Pick among the nodes [first, last) of a partition, a concept; return how many, FULL where an array is too short.

    Until the budget is spent, or the level (the first score of a time) is below `level`. `events` [at, until) are the
    edges over which picks of others weigh on the concept's nodes, `event_time` the times of those picks: [starts[t],
    starts[t + 1]) of `values` and `key_rows`; `key_nodes` are the partition's own nodes of these rows, -1 for others.
    Each pick goes to `picks`; its time behind the `used` keys of `path_values` and `path_rows` if an edge leaves its
    concept (`leaving`), or of every pick with `every`; `pick_ends` says where it ends. `x` keeps a pick's score.
    """
    size, taken, depth = last - first, 0, 0
    for node in range(first, last):
        heap[node - first], place[node] = node, node - first
    for top in range(size // 2 - 1, -1, -1):
        _sink(heap, place, x, rows, top, size)
    while size > 0 and taken < budget:
        node = heap[0]
        key, row, below, ghost = x[node], rows[node], depth, False
        while below > 0 and _ahead(stack_values[below - 1], stack_rows[below - 1], key, row):
            below -= 1
        if at < until:
            time = event_time[at]
            start, end = starts[time], starts[time + 1]
            ghost = _ghost_first(key, row, below, stack_values, stack_rows, start, end, values, key_rows)
        if ghost:
            if values[start] < level:
                break
            same = _shared(depth, stack_values, stack_rows, start, end, values, key_rows)
            # A pick that follows from one of this concept's that was not made here and now is none.
            possible = True
            for other in range(start + same, end - 1):
                possible = possible and not first <= key_nodes[other] < last
            if possible:
                if end - start > len(stack_values):
                    return FULL
                for step in range(same, end - start):
                    stack_values[step], stack_rows[step] = values[start + step], key_rows[start + step]
                depth = end - start
            while at < until and event_time[at] == time:
                edge = events[at]
                at += 1
                other = edge_node[edge]
                if possible and place[other] >= 0:
                    weight = edge_weight(edge_distances[edge], gamma, root, unit)
                    chance = end_p[edge_end[edge]] if novel else 0.0
                    _weigh(other, weight, values[end - 1], chance, novel, x, p, worth, nu, heap, place, rows, size)
            continue
        if (stack_values[0] if below > 0 else key) < level:
            break
        if below >= len(stack_values) or used + below + 1 > len(path_values):
            return FULL
        stack_values[below], stack_rows[below] = key, row
        depth = below + 1
        place[node] = -1
        size -= 1
        if size > 0:
            heap[0] = heap[size]
            _sink(heap, place, x, rows, 0, size)
        if every or leaving[node + 1] > leaving[node]:
            for step in range(depth):
                path_values[used], path_rows[used] = stack_values[step], stack_rows[step]
                used += 1
        picks[taken], pick_ends[taken] = node, used
        taken += 1
        for edge in range(indptr[node], indptr[node + 1]):
            other = indices[edge]
            if place[other] >= 0:
                weight = edge_weight(distances[edge], gamma, root, unit)
                _weigh(other, weight, key, p[node] if novel else 0.0, novel, x, p, worth, nu, heap, place, rows, size)
    return taken
