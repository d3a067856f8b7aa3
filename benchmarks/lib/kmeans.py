"""The training of concepts in one process, for small samples: a run does the same in tasks for shards and groups."""

import numpy as np

from filtering.concepts.kmeans import (
    REFINEMENTS,
    clustered_group,
    coarse_groups,
    group_shares,
    largest_in_sample,
    member_sums,
    moved_centroids,
    spherical_kmeans,
    without_twins,
)
from filtering.concepts.nearest import Centroids, Float32Array, nearest_centroids


def train_centroids(sample: Float32Array, clusters: int, seed: int) -> Centroids:
    """Return about `clusters` unit-norm centroids: more where large clusters were split, fewer where twins were merged.

    A run does the same in tasks for shards and groups; this is one process. `sample`, float32 (n, d), has unit-norm
    rows, at least one. Equal input, seed and thread count give equal centroids.
    """
    clusters = min(clusters, len(sample))
    coarse = spherical_kmeans(sample, coarse_groups(clusters), seed)
    home = nearest_centroids(sample, coarse, 1)[0][:, 0]
    shares = group_shares(np.bincount(home, minlength=len(coarse)), clusters)
    largest = largest_in_sample(len(sample), clusters)
    parts = [clustered_group(sample[home == group], int(shares[group]), seed, largest) for group in range(len(coarse))]
    numbers = np.repeat(np.arange(len(parts), dtype=np.int32), [len(part) for part in parts])
    centroids = Centroids.unmoved(np.concatenate(parts), numbers)
    for _ in range(REFINEMENTS):
        centroids = moved_centroids(centroids, *member_sums(sample, centroids))
    return without_twins(centroids)
