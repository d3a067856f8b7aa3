"""Spherical k-means with faiss, assignment to the nearest centroids, and the clusters' statistics."""

import math

import faiss
import numpy as np
import numpy.typing as npt

Float32Array = npt.NDArray[np.float32]

ITERATIONS = 20
POINTS_PER_CENTROID = 256
NEIGHBOURING_CENTROIDS = 20
BLOCK_ROWS = 16_384


def automatic_clusters(rows: int) -> int:
    """Return the number of concepts for a pool of `rows`: clusters of 3 * sqrt(rows), at most 10,000 samples.

    12.8 million rows give 1,280 concepts, 4,000 rows give 22.
    """
    size = min(10_000.0, 3 * math.sqrt(max(rows, 1)))
    return max(1, math.ceil(rows / size))


def spherical_kmeans(vectors: Float32Array, clusters: int, seed: int) -> Float32Array:
    """Return unit-norm centroids, float32 (min(clusters, n), d).

    Parameters
    ----------
    vectors : float32 (n, d)
        Unit-norm rows, at least one.
    clusters : int
    seed : int
        Equal input, seed and thread count give equal centroids.
    """
    clusters = min(clusters, len(vectors))
    settings = {"spherical": True, "seed": seed, "niter": ITERATIONS, "min_points_per_centroid": 1}
    settings |= {"max_points_per_centroid": max(POINTS_PER_CENTROID, math.ceil(len(vectors) / clusters))}
    kmeans = faiss.Kmeans(vectors.shape[1], clusters, **settings)
    kmeans.train(vectors)
    centroids: Float32Array = np.asarray(kmeans.centroids, dtype=np.float32)
    return centroids


def nearest_centroids(
    vectors: Float32Array, centroids: Float32Array, count: int
) -> tuple[npt.NDArray[np.int32], Float32Array]:
    """Return the `count` nearest centroids of each vector, nearest first, and the cosine distances.

    Returns
    -------
    concepts : int32 (n, min(count, K))
    distances : float32 (n, min(count, K))
        1 - cosine. Equally near centroids: the lowest index first.
    """
    count = min(count, len(centroids))
    concepts = np.empty((len(vectors), count), dtype=np.int32)
    distances = np.empty((len(vectors), count), dtype=np.float32)
    for start in range(0, len(vectors), BLOCK_ROWS):
        rows = slice(start, start + BLOCK_ROWS)
        apart = 1 - vectors[rows] @ centroids.T
        everyone = np.arange(len(apart))
        for place in range(count):
            # argmin takes the first of equals; each round hides what it took.
            nearest = apart.argmin(axis=1)
            concepts[rows, place], distances[rows, place] = nearest, apart[everyone, nearest]
            apart[everyone, nearest] = np.inf
    return concepts, distances


def inter_distances(centroids: Float32Array) -> npt.NDArray[np.float64]:
    """Return d_inter: the mean cosine distance to the 20 nearest other centroids, float64 (K,)."""
    if len(centroids) < 2:
        return np.zeros(len(centroids))
    count = min(NEIGHBOURING_CENTROIDS + 1, len(centroids))
    concepts, distances = nearest_centroids(centroids, centroids, count)
    others = concepts != np.arange(len(centroids))[:, None]
    # A twin at distance 0 may push a centroid out of its own list: then its farthest entry is left out.
    others[others.all(axis=1), -1] = False
    return np.asarray(distances[others].reshape(len(centroids), count - 1).mean(axis=1), dtype=np.float64)


def packed_partitions(rows: npt.NDArray[np.int64], limit: int) -> npt.NDArray[np.int32]:
    """Return the partition of each concept, int32 (K,): neighbours in order, at most `limit` rows together.

    Parameters
    ----------
    rows : int64 (K,)
        Rows of each concept, guests included.
    limit : int
        Rows a partition may hold; a larger concept has a partition of its own.
    """
    partitions = np.zeros(len(rows), dtype=np.int32)
    current, held = 0, 0
    for concept, count in enumerate(rows.tolist()):
        if held and held + count > limit:
            current, held = current + 1, 0
        partitions[concept] = current
        held += count
    return partitions
