"""Training of the centroids: tasks for shards, for some groups of centroids, and for parts of all centroids."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from filtering.concepts.artifacts import CENTROIDS
from filtering.concepts.kmeans import (
    POINTS_PER_CENTROID,
    REFINEMENTS,
    coarse_groups,
    group_shares,
    largest_in_sample,
)
from filtering.concepts.training import (
    FINE_NAME,
    MOVED_NAME,
    MOVED_TOGETHER,
    ROUND_NAME,
    SPREAD_NAME,
    SUMS_NAME,
    cluster_groups,
    collect_centroids,
    find_groups,
    move_centroids,
    sample_shard,
    spread_sample,
    sum_members,
)
from filtering.filters.artifacts import PassingShard
from filtering.runtime.stage import StageRun
from filtering.runtime.task_spec import task

# Rows on which a coarse centroid is trained, in multiples of a fine one's; sampled rows that one task clusters.
COARSE_POINTS = 4
BATCH_ROWS = 20_000


def train(stage: StageRun, shards: Sequence[PassingShard], clusters: int, seed: int, rows: int) -> None:
    """Train about `clusters` centroids on samples of the shards' `rows` rows, and write them."""
    groups = coarse_groups(clusters)
    fine, coarse = (count * POINTS_PER_CENTROID / max(rows, 1) for count in (clusters, COARSE_POINTS * groups))
    stage.over_shards("sample", "shards sampled", shards, sample_shard, fine, coarse, seed, rows, stage.store)
    identities = [shard.identity for shard in shards]
    stage.call("groups", find_groups, identities, groups, seed, stage.store)
    tasks = [task(f"spread-{identity}", spread_sample, identity, stage.store) for identity in identities]
    spread = stage.map(tasks, "samples grouped")
    filled = [identity for identity, sizes in zip(identities, spread, strict=True) if any(sizes)]
    sizes = np.array(spread, dtype=np.int64).sum(axis=0)
    _refine(stage, filled, _clustered(stage, filled, sizes, clusters, seed))


def _clustered(
    stage: StageRun, filled: Sequence[str], sizes: npt.NDArray[np.int64], clusters: int, seed: int
) -> list[str]:
    """Cluster each group on its own; return the names of the objects that hold the groups' centroids.

    `filled` are the shards with sampled rows, `sizes` int64 (G,) the sampled rows of each group.
    """
    names = [SPREAD_NAME.format(identity) for identity in filled]
    shares, largest = group_shares(sizes, clusters), largest_in_sample(int(sizes.sum()), clusters)
    batches = _batches(sizes)
    clusterings = [
        task(
            f"cluster-{batch.start:08d}",
            cluster_groups,
            batch.start,
            shares[batch].tolist(),
            largest,
            names,
            seed,
            stage.store,
        )
        for batch in batches
    ]
    stage.map(clusterings, "groups clustered")
    return [FINE_NAME.format(batch.start) for batch in batches]


def _refine(stage: StageRun, filled: Sequence[str], parts: Sequence[str]) -> None:
    """Move all centroids to their members a few times, and write them; `parts` hold the first ones."""
    for number in range(REFINEMENTS):
        current = ROUND_NAME.format(number)
        count = stage.call(f"centroids-{number}", collect_centroids, list(parts), current, stage.store)
        parts = _moved(stage, filled, number, current, count)
    stage.call(f"centroids-{REFINEMENTS}", collect_centroids, list(parts), CENTROIDS, stage.store)


def _moved(stage: StageRun, filled: Sequence[str], number: int, current: str, count: int) -> list[str]:
    """Move the `count` centroids of an object to the means of their members; return the names of the parts."""
    store = stage.store
    sums = [task(f"sums-{number}-{identity}", sum_members, identity, current, store) for identity in filled]
    stage.map(sums, "samples summed")
    names = [SUMS_NAME.format(identity, current) for identity in filled]
    parts = range(-(-count // MOVED_TOGETHER))
    moves = [task(f"move-{number}-{part:08d}", move_centroids, part, names, current, store) for part in parts]
    stage.map(moves, "centroids moved")
    return [MOVED_NAME.format(part, current) for part in parts]


def _batches(sizes: npt.NDArray[np.int64]) -> list[slice]:
    """Return consecutive groups that hold some 20,000 sampled rows together."""
    if len(sizes) == 0:
        return []
    ends = np.flatnonzero(np.diff(np.cumsum(sizes) // BATCH_ROWS, append=-1)) + 1
    return [slice(start, end) for start, end in zip([0, *ends[:-1].tolist()], ends.tolist(), strict=True)]
