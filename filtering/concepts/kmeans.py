"""Spherical k-means over levels, trained on a sample; oversized clusters are split, twins merged.

A flat k-means costs n x K distances a round. Here a coarse k-means makes about sqrt(K) groups, and each group is
clustered on its own into its share of the K centroids: n x sqrt(K) distances a round, and centroids numbered so that
near ones have near numbers. Of many centroids the coarse k-means, and that of each group, is again one over two levels:
n x K^(1/4) distances a round.

Rows and centroids are in steps of 2^-15 (`core.fixed_point`): which centroid is nearest, and the sum of its members,
are whole numbers, and a mean is rounded the same everywhere. So equal rows and seeds give equal centroids on every CPU,
for any number of threads.
"""

import math

import numpy as np
import numpy.typing as npt
from numba import njit

from filtering.concepts.nearest import (
    FARTHEST,
    CentroidIndex,
    Centroids,
    Float32Array,
    Int16Array,
    Int32Array,
    Int64Array,
    nearest_of_all,
)
from filtering.core.fixed_point import SQUARED_STEPS, STEPS, in_steps
from filtering.runtime.shuffle import runs

Float64Array = npt.NDArray[np.float64]

ITERATIONS = 12
POINTS_PER_CENTROID = 160
# Rounds over all centroids after each group has been clustered on its own: rows near a group's border move to nearer
# centroids, which leaves a fifth fewer replicas (measured). The last round measures the spreads.
REFINEMENTS = 3
NEIGHBOURING_CENTROIDS = 20
# A pool of more concepts than this is clustered over two levels, one of more than the second number over four.
FLAT_CLUSTERS, SHALLOW_CLUSTERS = 64, 30_000
# Of a hierarchy over concepts a level of more nodes than this is clustered over two levels.
FLAT_NODES = 2_000
# A centroid with more of the sample than this many times its share is split.
OVERSIZED = 3.0
SPLITTING_ROUNDS = 3
# Centroids nearer than this (cosine distance) are one: equal rows cannot be split.
TWIN_DISTANCE = 1e-6
LARGEST_CLUSTER = 3_000
# Rows whose sum int32 holds, whatever they are.
SUMMED_ROWS = 1 << 16


def automatic_clusters(rows: int) -> int:
    """Return the number of concepts for a pool of `rows`: clusters of 3 * sqrt(rows), at most 3,000 samples.

    12.8 million rows give 4,267 concepts, 4,000 rows give 22. The search inside the concepts costs rows * size.
    """
    size = min(float(LARGEST_CLUSTER), 3 * math.sqrt(max(rows, 1)))
    return max(1, math.ceil(rows / size))


def coarse_groups(clusters: int) -> int:
    """Return how many groups of centroids there are: 1 for few clusters, else about sqrt(clusters)."""
    return 1 if clusters <= FLAT_CLUSTERS else math.ceil(math.sqrt(clusters))


def member_sums(sample: Int16Array, index: CentroidIndex) -> tuple[Int64Array, Int64Array, Int32Array]:
    """Return the centroids that are nearest to some sampled row, ascending, int64 (m,), those rows' number and sum.

    `sample`, int16 (n, d), and the sums, int32 (m, d), are in steps. A centroid of more than 65,536 rows comes more
    than once.
    """
    home = index.nearest_steps(sample, 1)[0][:, 0]
    order = np.argsort(home, kind="stable")
    spans = [part for span in runs(home[order]) for part in _parts(span)]
    present = np.array([home[order[span.start]] for span in spans], dtype=np.int64)
    counts = np.array([span.stop - span.start for span in spans], dtype=np.int64)
    sums = np.zeros((len(spans), sample.shape[1]), dtype=np.int32)
    _add_members(sample, order, np.repeat(np.arange(len(spans)), counts), sums)
    return present, counts, sums


def moved_centroids(
    centroids: Centroids, members: Int64Array, counts: Int64Array, sums: npt.NDArray[np.int32]
) -> Centroids:
    """Return centroids moved to the directions of their members' sums; a centroid without members stays.

    The mean cosine of unit-norm rows to the direction of their sum is the length of the sum over their number.
    """
    totals, numbers = np.zeros(centroids.steps.shape, dtype=np.int64), np.zeros(len(centroids.steps), dtype=np.int64)
    np.add.at(totals, members, sums)
    np.add.at(numbers, members, counts)
    steps, lengths = _directions(totals, centroids.steps)
    spreads = np.maximum(1 - lengths / (np.maximum(numbers, 1) * float(STEPS)), 0).astype(np.float32)
    return Centroids(steps, centroids.groups, np.where(lengths > 0, spreads, centroids.spreads), centroids.branches)


def largest_in_sample(rows: int, clusters: int) -> float:
    """Return how many of `rows` sampled rows a cluster may have before it is split."""
    return OVERSIZED * rows / max(clusters, 1)


def spherical_kmeans(rows: Int16Array, clusters: int, seed: int) -> Int16Array:
    """Return unit-norm centroids, int16 (min(clusters, n), d), of unit-norm rows, int16 (n, d), both in steps."""
    clusters, random = min(clusters, len(rows)), np.random.default_rng(seed)
    most = max(POINTS_PER_CENTROID, 8 * POINTS_PER_CENTROID if clusters < FLAT_CLUSTERS else 0)
    chosen = random.permutation(len(rows))[: most * clusters]
    sample = rows[np.sort(chosen)] if len(chosen) < len(rows) else rows
    centroids, before = rows[chosen[:clusters]], np.zeros(0, dtype=np.int32)
    for _ in range(ITERATIONS if clusters else 0):
        home = nearest_of_all(sample, centroids, 1)[0][:, 0]
        if np.array_equal(home, before):
            break
        counts, before = np.bincount(home, minlength=clusters), home
        totals = np.zeros(centroids.shape, dtype=np.int64)
        _add_members(sample, np.arange(len(sample)), home, totals)
        centroids = _directions(totals, centroids)[0]
        for empty in np.flatnonzero(counts == 0).tolist():
            centroids[empty] = sample[_member_of_largest(home, counts, random)]
    return centroids


def inter_distances(centroids: Centroids) -> Float64Array:
    """Return d_inter: the mean cosine distance to the 20 nearest other centroids, float64 (K,)."""
    everyone = np.arange(len(centroids.steps), dtype=np.int32)
    return neighbouring_distances(CentroidIndex(centroids), everyone)


def neighbouring_distances(index: CentroidIndex, places: Int32Array) -> Float64Array:
    """Return d_inter of the centroids at some places, int32 (n,), as float64 (n,)."""
    concepts, squared = index.nearest_steps(index.steps[places], NEIGHBOURING_CENTROIDS + 1)
    squared[concepts == places[:, None]] = FARTHEST
    nearest = np.sort(squared, axis=1)[:, :NEIGHBOURING_CENTROIDS]
    there = nearest != FARTHEST
    sums = np.where(there, nearest, 0).sum(axis=1)
    return np.asarray(sums / (2.0 * SQUARED_STEPS * np.maximum(there.sum(axis=1), 1)))


def centroid_hierarchy(centroids: Float32Array, levels: int, seed: int) -> list[Int64Array]:
    """Return a k-means hierarchy over unit-norm centroids, float32 (K, d) (Vo et al. 2024, arXiv 2405.15613).

    Of K centroids the l-th of L levels has K^(1 - l / (L + 1)) nodes, so that every node has about as many below it.
    The level above the centroids comes first: for each node of a level (for each centroid, first) its parent's number
    on the next, int64.
    """
    parents, below = [], in_steps(centroids)
    for level in range(1, levels + 1):
        wanted = max(1, round(len(centroids) ** (1 - level / (levels + 1))))
        if wanted > FLAT_NODES:
            above, groups = grouped_kmeans(below, wanted, seed, math.inf)
        else:
            above = spherical_kmeans(below, wanted, seed)
            groups = np.zeros(len(above), dtype=np.int32)
        index = CentroidIndex(Centroids.in_groups(above, groups, np.zeros((len(above), 0), dtype=np.int32)))
        parents.append(index.nearest_steps(below, 1)[0][:, 0].astype(np.int64))
        below = above
    return parents


def clustered_group(rows: Int16Array, clusters: int, seed: int, largest: float) -> Int16Array:
    """Return the centroids of a group's sampled rows, int16 (n, d), as int16 (m, d), both in steps.

    `clusters` is the group's share of the centroids; those with more than `largest` rows are split where possible.
    """
    if len(rows) == 0 or clusters == 0:
        return np.zeros((0, rows.shape[1]), dtype=np.int16)
    centroids = spherical_kmeans(rows, clusters, seed)
    for _ in range(SPLITTING_ROUNDS):
        home = nearest_of_all(rows, centroids, 1)[0][:, 0]
        sizes = np.bincount(home, minlength=len(centroids))
        oversized = np.flatnonzero(sizes > largest)
        if len(oversized) == 0:
            break
        pieces = [
            spherical_kmeans(rows[home == at], math.ceil(OVERSIZED * sizes[at] / largest), seed) for at in oversized
        ]
        centroids = np.concatenate([np.delete(centroids, oversized, axis=0), *pieces])
    # Of equal centroids, which equal rows have, only the first has the rows.
    return centroids[np.unique(nearest_of_all(rows, centroids, 1)[0])]


def grouped_kmeans(rows: Int16Array, clusters: int, seed: int, largest: float) -> tuple[Int16Array, Int32Array]:
    """Return the centroids of rows, int16 (n, d), by k-means over two levels, int16 (m, d), and their groups, int32.

    Groups are ascending. Centroids of more than `largest` rows are split where possible.
    """
    coarse = spherical_kmeans(rows, coarse_groups(clusters), seed)
    home = nearest_of_all(rows, coarse, 1)[0][:, 0] if len(coarse) else np.zeros(0, dtype=np.int32)
    shares = group_shares(np.bincount(home, minlength=len(coarse)), clusters)
    parts = [clustered_group(rows[home == group], int(share), seed, largest) for group, share in enumerate(shares)]
    groups = np.repeat(np.arange(len(parts), dtype=np.int32), [len(part) for part in parts])
    return np.concatenate([np.zeros((0, rows.shape[1]), dtype=np.int16), *parts]), groups


def group_shares(sizes: npt.NDArray[np.int64], clusters: int) -> npt.NDArray[np.int64]:
    """Return how many centroids each group gets: in proportion to its sample, at least one where it has any."""
    share = np.rint(sizes * (clusters / max(int(sizes.sum()), 1))).astype(np.int64)
    limited: npt.NDArray[np.int64] = np.minimum(np.maximum(share, 1), sizes)
    return limited


def without_twins(centroids: Centroids) -> Centroids:
    """Return the centroids without those that nearly equal an earlier one."""
    places = np.arange(len(centroids.steps), dtype=np.int32)
    return centroids.take(np.flatnonzero(~twins(CentroidIndex(centroids), places)))


def twins(index: CentroidIndex, places: Int32Array) -> npt.NDArray[np.bool_]:
    """Return which of the centroids at some places, int32 (n,), nearly equal an earlier one, bool (n,)."""
    concepts, squared = index.nearest_steps(index.steps[places], 2)
    near = squared < TWIN_DISTANCE * 2 * SQUARED_STEPS
    return np.asarray((near & (concepts >= 0) & (concepts < places[:, None])).any(axis=1))


def _parts(span: slice) -> list[slice]:
    """Return a run of rows in parts whose sums int32 holds."""
    return [slice(start, min(start + SUMMED_ROWS, span.stop)) for start in range(span.start, span.stop, SUMMED_ROWS)]


def _member_of_largest(home: Int32Array, counts: Int64Array, random: np.random.Generator) -> int:
    """Return a row of the largest cluster, for an empty one to begin with; `counts` are changed as if it took half."""
    largest = int(counts.argmax())
    members = np.flatnonzero(home == largest)
    counts[largest] -= counts[largest] // 2
    return int(members[random.integers(len(members))])


def _directions(totals: Int64Array, otherwise: Int16Array) -> tuple[Int16Array, Float64Array]:
    """Return the directions of sums of rows, int64 (n, d), in steps, and the lengths of the sums, in steps.

    A sum of zeros has that of the row at its place in `otherwise`, int16 (n, d).
    """
    steps, lengths = otherwise.copy(), np.zeros(len(totals))
    _normalise(totals, steps, lengths)
    return steps, lengths


@njit(cache=True)  # type: ignore[untyped-decorator]
def _normalise(totals: Int64Array, steps: Int16Array, lengths: Float64Array) -> None:
    for row in range(len(totals)):
        squares = 0.0
        # In the order of the coordinates, which no compiler changes: the same on every CPU.
        for column in range(totals.shape[1]):
            squares += np.float64(totals[row, column]) * np.float64(totals[row, column])
        lengths[row] = math.sqrt(squares)
        if lengths[row] > 0:
            for column in range(totals.shape[1]):
                value = np.rint(np.float64(totals[row, column]) / lengths[row] * STEPS)
                steps[row, column] = np.int16(min(value, STEPS - 1))


@njit(cache=True)  # type: ignore[untyped-decorator]
def _add_members(
    rows: Int16Array, order: Int64Array, groups: npt.NDArray[np.integer], sums: npt.NDArray[np.integer]
) -> None:
    for at in range(len(order)):
        row, group = order[at], groups[at]
        for column in range(rows.shape[1]):
            sums[group, column] += rows[row, column]
