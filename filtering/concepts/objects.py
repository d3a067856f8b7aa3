"""The objects of the concepts and partitions stages, as the stations after them read them."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from filtering.filters.objects import PassingShard
from filtering.storage import Store

CENTROIDS = "centroids.npz"
CONCEPTS = "concepts.parquet"
ASSIGNMENTS_NAME = "{}.assignments.parquet"
GROUPED_NAME = "{}.grouped.parquet"


def read_concepts(store: Store) -> pa.Table:
    """Return the table `tables.CONCEPTS`."""
    return store.read_table(CONCEPTS)


def read_centroids(store: Store) -> npt.NDArray[np.float32]:
    """Return the unit-norm centroids, float32 (K, d)."""
    return store.read_arrays(CENTROIDS)["centroids"]


def read_assignments(store: Store, shard: PassingShard) -> pa.Table:
    """Return the table `tables.ASSIGNMENTS` of one shard."""
    return store.read_table(ASSIGNMENTS_NAME.format(shard.identity))


def grouped_names(shards: Sequence[PassingShard]) -> list[str]:
    """Return the names of the objects that hold the rows grouped by partition."""
    return [GROUPED_NAME.format(shard.identity) for shard in shards]
