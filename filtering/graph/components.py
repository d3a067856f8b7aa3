"""The connected components of the graph, from its shards one after the other."""

import numpy as np
from numba import njit

from filtering.core.csr import Int64Array


class Components:
    """A union-find over n rows: 8 bytes a row."""

    def __init__(self, rows: int) -> None:
        self.parents = np.arange(rows, dtype=np.int64)

    def join(self, left: Int64Array, right: Int64Array) -> None:
        """Take edges between rows in [0, n), int64 (m,) each."""
        _join(self.parents, left, right)

    def roots(self) -> Int64Array:
        """Return the least row of the component that each row is in, int64 (n,)."""
        found = np.empty_like(self.parents)
        _find_roots(self.parents, found)
        return found

    def sizes(self) -> Int64Array:
        """Return how many rows each component has, largest first."""
        counts = np.bincount(self.roots(), minlength=len(self.parents))
        return -np.sort(-counts[counts > 0])


@njit(cache=True)  # type: ignore[untyped-decorator]
def _root(parents: Int64Array, node: int) -> int:
    while parents[node] != node:
        parents[node] = parents[parents[node]]
        node = parents[node]
    return node


@njit(cache=True)  # type: ignore[untyped-decorator]
def _join(parents: Int64Array, left: Int64Array, right: Int64Array) -> None:
    for at in range(len(left)):
        a, b = _root(parents, left[at]), _root(parents, right[at])
        if a != b:
            parents[max(a, b)] = min(a, b)


@njit(cache=True)  # type: ignore[untyped-decorator]
def _find_roots(parents: Int64Array, roots: Int64Array) -> None:
    for node in range(len(parents)):
        roots[node] = _root(parents, node)
