"""Neighbours as a plain search in whole numbers finds them, for tests."""

import numpy as np

from filtering.core.fixed_point import in_steps


def unit(random, rows, width):
    points = random.normal(size=(rows, width)).astype(np.float32)
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def snapped(vectors):
    """Unit-norm vectors in whole steps of 2^-15, as float64."""
    return in_steps(np.ascontiguousarray(vectors, dtype=np.float32)).astype(np.float64) / 2**15


def distances_of(steps, own):
    """Squared distances of all members, int16 (m, d), float32 (m, m), infinite where two are not compared."""
    wide = steps.astype(np.int64)
    # A row with the others at a time: one product of all would be as many numbers as pairs times coordinates.
    squared = np.array([((wide - row) ** 2).sum(axis=1) for row in wide], dtype=np.int64).reshape(len(wide), len(wide))
    apart = (squared / 2**30).astype(np.float32)
    np.fill_diagonal(apart, np.inf)
    apart[own:, own:] = np.inf
    return apart


def plain_neighbours(steps, own, k, ids=None):
    """What `member_neighbours` must return."""
    apart = distances_of(steps, own)
    ids = np.arange(len(steps)) if ids is None else ids
    neighbours = np.full((len(steps), k), -1, dtype=np.int32)
    distances = np.full((len(steps), k), np.inf, dtype=np.float32)
    for row, lengths in enumerate(apart):
        order = np.lexsort((ids, lengths))
        order = order[np.isfinite(lengths[order])][:k]
        neighbours[row, : len(order)], distances[row, : len(order)] = order, lengths[order]
    return neighbours, distances
