"""The objects of the concepts and partitions stages, as the stations after them read them."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from filtering.filters.objects import PassingShard
from filtering.storage import Store

CENTROIDS = "centroids.npz"
CONCEPTS = "concepts.parquet"
ASSIGNMENTS_NAME = "{}.assignments.parquet"
GROUPED_SUFFIX = ".grouped.parquet"
GROUPED_NAME = "{}.{:09d}" + GROUPED_SUFFIX


def read_concepts(store: Store) -> pa.Table:
    """Return the table `tables.CONCEPTS`."""
    return store.read_table(CONCEPTS)


def read_centroids(store: Store) -> npt.NDArray[np.float32]:
    """Return the unit-norm centroids, float32 (K, d)."""
    return store.read_arrays(CENTROIDS)["centroids"]


def read_assignments(store: Store, shard: PassingShard) -> pa.Table:
    """Return the table `tables.ASSIGNMENTS` of one shard."""
    return store.read_table(ASSIGNMENTS_NAME.format(shard.identity))


def grouped_names(store: Store) -> list[str]:
    """Return the names of the objects that hold the rows grouped by partition."""
    return store.names(GROUPED_SUFFIX)
