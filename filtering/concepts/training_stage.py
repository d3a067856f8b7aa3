"""Training of the centroids: tasks for shards, for some groups of centroids, and for parts of all centroids."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from filtering.concepts.artifacts import TRAINED
from filtering.concepts.kmeans import (
    POINTS_PER_CENTROID,
    REFINEMENTS,
    SHALLOW_CLUSTERS,
    coarse_groups,
    group_shares,
    largest_in_sample,
)
from filtering.concepts.merging import merged_identities
from filtering.concepts.training import (
    FINE_NAME,
    MOVED_NAME,
    MOVED_TOGETHER,
    ROUND_NAME,
    SPREAD_NAME,
    SUMS_NAME,
    Share,
    cluster_groups,
    collect_centroids,
    find_groups,
    find_twins,
    merge_few,
    move_centroids,
    sample_shard,
    spread_sample,
    sum_members,
)
from filtering.filters.artifacts import PassingShard
from filtering.runtime.shuffle import runs
from filtering.runtime.stage import StageRun
from filtering.runtime.task_spec import task

# Rows on which a coarse centroid is trained, in multiples of a fine one's, and on which all of them are at most.
COARSE_POINTS, COARSE_ROWS = 4, 1 << 19
# Sampled rows that one task clusters, where a group has no more.
BATCH_ROWS = 20_000
# Sampled rows that one task compares with centroids: a share of all of them, between these.
LEAST_COMPARED, MOST_COMPARED, COMPARING_TASKS = 4_096, 65_536, 64


def train(stage: StageRun, shards: Sequence[PassingShard], clusters: int, seed: int, rows: int) -> int:
    """Train about `clusters` centroids on samples of the shards' `rows` rows, and write them.

    Returns how many rows were sampled for all of them: 160 for each.
    """
    groups, deep = coarse_groups(clusters), clusters > SHALLOW_CLUSTERS
    fine, coarse = clusters * POINTS_PER_CENTROID / max(rows, 1), coarse_rows(groups) / max(rows, 1)
    sampled = stage.over_shards("sample", "shards sampled", shards, sample_shard, fine, coarse, seed, rows, stage.store)
    identities = [shard.identity for shard in shards]
    few = merged_identities(stage, "few", identities, merge_few)
    stage.call("groups", find_groups, few, groups, deep, seed, stage.store)
    batches = _compared_together(identities, sampled)
    names = {SPREAD_NAME.format(batch[0]): batch for batch in batches}
    tasks = [task(f"spread-{batch[0]}", spread_sample, batch, name, stage.store) for name, batch in names.items()]
    spread = stage.map(tasks, "samples grouped")
    filled = {name: batch for (name, batch), sizes in zip(names.items(), spread, strict=True) if any(sizes)}
    sizes = np.array(spread, dtype=np.int64).sum(axis=0)
    _refine(stage, list(filled.values()), _clustered(stage, list(filled), sizes, clusters, seed))
    return sum(sampled)


def coarse_rows(groups: int) -> int:
    """Return on how many rows the coarse centroids of so many groups are trained."""
    return min(COARSE_POINTS * groups * POINTS_PER_CENTROID, COARSE_ROWS)


def _clustered(
    stage: StageRun, names: Sequence[str], sizes: npt.NDArray[np.int64], clusters: int, seed: int
) -> list[str]:
    """Cluster each group on its own; return the names of the objects that hold the groups' centroids.

    `names` are the objects with sampled rows, `sizes` int64 (G,) the sampled rows of each group.
    """
    shares, largest = group_shares(sizes, clusters), largest_in_sample(int(sizes.sum()), clusters)
    deep, batches = clusters > SHALLOW_CLUSTERS, _batches(sizes)
    parts = [Share(batch.start, tuple(shares[batch].tolist()), largest, deep) for batch in batches]
    clusterings = [task(f"cluster-{part.first:08d}", cluster_groups, part, names, seed, stage.store) for part in parts]
    stage.map(clusterings, "groups clustered")
    return [FINE_NAME.format(part.first) for part in parts]


def _refine(stage: StageRun, batches: Sequence[Sequence[str]], parts: Sequence[str]) -> None:
    """Move all centroids to their members a few times, and write them without twins; `parts` hold the first ones.

    `batches` are shards whose sampled rows are compared together.
    """
    for number in range(REFINEMENTS):
        current = ROUND_NAME.format(number)
        count = stage.call(f"centroids-{number}", collect_centroids, list(parts), current, stage.store)
        parts = _moved(stage, batches, number, current, count)
    current = ROUND_NAME.format(REFINEMENTS)
    count = stage.call(f"centroids-{REFINEMENTS}", collect_centroids, list(parts), current, stage.store)
    numbers = range(-(-count // MOVED_TOGETHER))
    twins = [task(f"twins-{part:08d}", find_twins, part, current, stage.store) for part in numbers]
    stage.map(twins, "centroids compared")
    left = [MOVED_NAME.format(part, current) for part in numbers]
    stage.call("centroids", collect_centroids, left, TRAINED, stage.store)


def _moved(stage: StageRun, batches: Sequence[Sequence[str]], number: int, current: str, count: int) -> list[str]:
    """Move the `count` centroids of an object to the means of their members; return the names of the parts."""
    store = stage.store
    names = {SUMS_NAME.format(batch[0], current): batch for batch in batches}
    sums = [
        task(f"sums-{number}-{batch[0]}", sum_members, batch, current, name, store) for name, batch in names.items()
    ]
    stage.map(sums, "samples summed")
    parts = range(-(-count // MOVED_TOGETHER))
    moves = [task(f"move-{number}-{part:08d}", move_centroids, part, list(names), current, store) for part in parts]
    stage.map(moves, "centroids moved")
    return [MOVED_NAME.format(part, current) for part in parts]


def _compared_together(identities: Sequence[str], sampled: Sequence[int]) -> list[list[str]]:
    """Return consecutive shards whose sampled rows, `sampled` of each, one task compares with centroids."""
    rows = min(max(sum(sampled) // COMPARING_TASKS, LEAST_COMPARED), MOST_COMPARED)
    numbers = np.cumsum(np.array(sampled, dtype=np.int64)) // rows
    return [[identities[at] for at in range(span.start, span.stop)] for span in runs(numbers)]


def _batches(sizes: npt.NDArray[np.int64]) -> list[slice]:
    """Return consecutive groups that hold some 20,000 sampled rows together."""
    if len(sizes) == 0:
        return []
    ends = np.flatnonzero(np.diff(np.cumsum(sizes) // BATCH_ROWS, append=-1)) + 1
    return [slice(start, end) for start, end in zip([0, *ends[:-1].tolist()], ends.tolist(), strict=True)]
