"""The training of concepts in one process, for small samples: a run does the same in tasks for shards and groups."""

import numpy as np

from filtering.concepts.kmeans import (
    REFINEMENTS,
    grouped_kmeans,
    largest_in_sample,
    member_sums,
    moved_centroids,
    without_twins,
)
from filtering.concepts.nearest import CentroidIndex, Centroids, Float32Array
from filtering.core.fixed_point import in_steps


def train_centroids(sample: Float32Array, clusters: int, seed: int) -> Centroids:
    """Return about `clusters` unit-norm centroids: more where large clusters were split, fewer where twins were merged.

    A run does the same in tasks for shards and groups; this is one process. `sample`, float32 (n, d), has unit-norm
    rows, at least one. Equal input and seed give equal centroids.
    """
    clusters, rows = min(clusters, len(sample)), in_steps(sample)
    steps, groups = grouped_kmeans(rows, clusters, seed, largest_in_sample(len(rows), clusters))
    centroids = Centroids.in_groups(steps, groups, np.zeros((len(groups), 0), dtype=np.int32))
    for _ in range(REFINEMENTS):
        centroids = moved_centroids(centroids, *member_sums(rows, CentroidIndex(centroids)))
    return without_twins(centroids)
