"""Spherical k-means over two levels, trained on a sample; oversized clusters are split, twins merged.

A flat k-means costs n x K distances a round. Here a coarse k-means makes about sqrt(K) groups, and each group is
clustered on its own into its share of the K centroids: n x sqrt(K) distances a round, and centroids numbered so that
near ones have near numbers.
"""

import math

import faiss
import numpy as np
import numpy.typing as npt

from filtering.concepts.nearest import CentroidIndex, Centroids, Float32Array, nearest_centroids
from filtering.runtime.shuffle import runs

Int64Array = npt.NDArray[np.int64]

ITERATIONS = 12
POINTS_PER_CENTROID = 160
# Rounds over all centroids after each group has been clustered on its own: rows near a group's border move to nearer
# centroids, which leaves a fifth fewer replicas (measured). The last round measures the spreads.
REFINEMENTS = 3
NEIGHBOURING_CENTROIDS = 20
# A pool of more concepts than this is clustered over two levels.
FLAT_CLUSTERS = 64
# A centroid with more of the sample than this many times its share is split.
OVERSIZED = 3.0
SPLITTING_ROUNDS = 3
# Centroids nearer than this (cosine distance) are one: equal rows cannot be split.
TWIN_DISTANCE = 1e-6
LARGEST_CLUSTER = 3_000


def automatic_clusters(rows: int) -> int:
    """Return the number of concepts for a pool of `rows`: clusters of 3 * sqrt(rows), at most 3,000 samples.

    12.8 million rows give 4,267 concepts, 4,000 rows give 22. The search inside the concepts costs rows * size, the
    assignment rows * sqrt(clusters).
    """
    size = min(float(LARGEST_CLUSTER), 3 * math.sqrt(max(rows, 1)))
    return max(1, math.ceil(rows / size))


def coarse_groups(clusters: int) -> int:
    """Return how many groups of centroids there are: 1 for few clusters, else about sqrt(clusters)."""
    return 1 if clusters <= FLAT_CLUSTERS else math.ceil(math.sqrt(clusters))


def member_sums(sample: Float32Array, centroids: Centroids) -> tuple[Int64Array, Int64Array, Float32Array]:
    """Return the centroids that are nearest to some sampled row, ascending, int64 (m,), those rows' number and sum."""
    home = CentroidIndex(centroids).nearest(sample, 1)[0][:, 0]
    order = np.argsort(home, kind="stable")
    spans = list(runs(home[order]))
    present = np.array([home[order[span.start]] for span in spans], dtype=np.int64)
    counts = np.array([span.stop - span.start for span in spans], dtype=np.int64)
    return present, counts, np.stack([sample[order[span]].sum(axis=0) for span in spans])


def moved_centroids(centroids: Centroids, members: Int64Array, counts: Int64Array, sums: Float32Array) -> Centroids:
    """Return centroids moved to the directions of their members' sums; a centroid without members stays.

    The mean cosine of unit-norm rows to the direction of their sum is the length of the sum over their number.
    """
    totals, numbers = np.zeros_like(centroids.vectors), np.zeros(len(centroids.vectors), dtype=np.int64)
    np.add.at(totals, members, sums)
    np.add.at(numbers, members, counts)
    lengths = np.sqrt(np.einsum("nd,nd->n", totals, totals))
    moved = lengths > 0
    directions = totals / np.maximum(lengths, np.finfo(np.float32).tiny)[:, None]
    spreads = np.maximum(1 - lengths / np.maximum(numbers, 1), 0).astype(np.float32)
    return Centroids(
        np.where(moved[:, None], directions, centroids.vectors),
        centroids.groups,
        np.where(moved, spreads, centroids.spreads),
    )


def largest_in_sample(rows: int, clusters: int) -> float:
    """Return how many of `rows` sampled rows a cluster may have before it is split."""
    return OVERSIZED * rows / max(clusters, 1)


def spherical_kmeans(vectors: Float32Array, clusters: int, seed: int) -> Float32Array:
    """Return unit-norm centroids, float32 (min(clusters, n), d), of unit-norm vectors."""
    clusters = min(clusters, len(vectors))
    most = max(POINTS_PER_CENTROID, 8 * POINTS_PER_CENTROID if clusters < FLAT_CLUSTERS else 0)
    kmeans = faiss.Kmeans(
        vectors.shape[1],
        clusters,
        niter=ITERATIONS,
        spherical=True,
        seed=seed,
        min_points_per_centroid=1,
        max_points_per_centroid=most,
    )
    kmeans.train(vectors)
    centroids: Float32Array = np.asarray(kmeans.centroids, dtype=np.float32)
    return centroids


def inter_distances(centroids: Centroids) -> npt.NDArray[np.float64]:
    """Return d_inter: the mean cosine distance to the 20 nearest other centroids, float64 (K,)."""
    everyone = np.arange(len(centroids.vectors), dtype=np.int32)
    concepts, distances = CentroidIndex(centroids).nearest(centroids.vectors, NEIGHBOURING_CENTROIDS + 1)
    distances[(concepts == everyone[:, None]) | (concepts < 0)] = np.inf
    nearest = np.sort(distances, axis=1)[:, :NEIGHBOURING_CENTROIDS].astype(np.float64)
    there = np.isfinite(nearest)
    return np.asarray(np.where(there, nearest, 0).sum(axis=1) / np.maximum(there.sum(axis=1), 1))


def centroid_hierarchy(centroids: Float32Array, levels: int, seed: int) -> list[Int64Array]:
    """Return a k-means hierarchy over unit-norm centroids, float32 (K, d) (Vo et al. 2024, arXiv 2405.15613).

    Of K centroids the l-th of L levels has K^(1 - l / (L + 1)) nodes, so that every node has about as many below it.
    The level above the centroids comes first: for each node of a level (for each centroid, first) its parent's number
    on the next, int64.
    """
    parents, below = [], centroids
    for level in range(1, levels + 1):
        wanted = max(1, round(len(centroids) ** (1 - level / (levels + 1))))
        above = spherical_kmeans(below, wanted, seed)
        parents.append(nearest_centroids(below, above, 1)[0][:, 0].astype(np.int64))
        below = above
    return parents


def clustered_group(vectors: Float32Array, clusters: int, seed: int, largest: float) -> Float32Array:
    """Return the centroids of a group's sampled rows, float32 (n, d), as float32 (m, d).

    `clusters` is the group's share of the centroids; those with more than `largest` rows are split where possible.
    """
    if len(vectors) == 0 or clusters == 0:
        return np.zeros((0, vectors.shape[1]), dtype=np.float32)
    centroids = spherical_kmeans(vectors, clusters, seed)
    for _ in range(SPLITTING_ROUNDS):
        home = nearest_centroids(vectors, centroids, 1)[0][:, 0]
        sizes = np.bincount(home, minlength=len(centroids))
        oversized = np.flatnonzero(sizes > largest)
        if len(oversized) == 0:
            break
        pieces = [
            spherical_kmeans(vectors[home == at], math.ceil(OVERSIZED * sizes[at] / largest), seed) for at in oversized
        ]
        centroids = np.concatenate([np.delete(centroids, oversized, axis=0), *pieces])
    # Where rows are equal, faiss moves copies of a centroid apart by a little; only one of them has the rows.
    return centroids[np.unique(nearest_centroids(vectors, centroids, 1)[0])]


def group_shares(sizes: npt.NDArray[np.int64], clusters: int) -> npt.NDArray[np.int64]:
    """Return how many centroids each group gets: in proportion to its sample, at least one where it has any."""
    share = np.rint(sizes * (clusters / max(int(sizes.sum()), 1))).astype(np.int64)
    limited: npt.NDArray[np.int64] = np.minimum(np.maximum(share, 1), sizes)
    return limited


def without_twins(centroids: Centroids) -> Centroids:
    """Return the centroids without those that nearly equal an earlier one."""
    everyone = np.arange(len(centroids.vectors))
    concepts, distances = CentroidIndex(centroids).nearest(centroids.vectors, 2)
    twin = ((distances < TWIN_DISTANCE) & (concepts >= 0) & (concepts < everyone[:, None])).any(axis=1)
    return centroids.take(np.flatnonzero(~twin))
