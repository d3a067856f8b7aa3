"""Spare neighbours: those after the k that a row chooses, for runs in which chosen ones have gone.

Where a few rows of a pool go, many others lose one of their k neighbours. With a few more in store they need not
search: the nearest spare one takes its place. The list of a row's neighbours and spare ones is complete where it has
all rows that this row has met; else it has all that are nearer than its last.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from filtering.concepts.partition import moved_rows
from filtering.core.csr import Int64Array
from filtering.core.spare_neighbours import spare_count
from filtering.graph.artifacts import SPARES_NAME
from filtering.storage.store import Store

Float32Array = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Spares:
    """Spare neighbours of n rows, s each."""

    # int64 (n, s), global ids, nearest first, equally far ones by id; -1 where there is none, or it has gone
    ids: Int64Array
    # float32 (n, s), squared Euclidean, ascending. The last is how far a row's list reaches: infinite where the list is
    # complete.
    distances: Float32Array

    @property
    def reach(self) -> Float32Array:
        """How far the rows' lists reach, float32 (n,)."""
        return np.ascontiguousarray(self.distances[:, -1])

    def equals(self, other: "Spares") -> bool:
        """Say whether others are the same."""
        return np.array_equal(self.ids, other.ids) and np.array_equal(self.distances, other.distances)

    def moved(self, places: npt.NDArray[np.int64]) -> "Spares":
        """Return them in today's row ids; `places` as for `moved_rows`."""
        return Spares(moved_rows(self.ids.ravel(), places).reshape(self.ids.shape), self.distances)


def unknown_spares(reach: Float32Array, k: int) -> Spares:
    """Return none, for rows of whose lists only the k neighbours are known, which reach so far, float32 (n,)."""
    ids = np.full((len(reach), spare_count(k)), -1, dtype=np.int64)
    return Spares(ids, np.repeat(reach[:, None], ids.shape[1], axis=1))


def write_spares(store: Store, partition: int, spares: Spares) -> None:
    """Write the spare neighbours of a partition's rows, in the order of its part of the graph."""
    store.write_arrays(SPARES_NAME.format(partition), {"ids": spares.ids, "distances": spares.distances})


def read_spares(store: Store, partition: int) -> Spares | None:
    """Return the spare neighbours that a run's own part of the graph has; None where an older version wrote it."""
    try:
        return Spares(**store.read_arrays(SPARES_NAME.format(partition)))
    except FileNotFoundError:
        return None
