"""Worker tasks of the measures stage: a pass over each shard's vectors, and one over each partition's graph."""

from collections.abc import Sequence
from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt

from filtering.concepts.artifacts import read_queries
from filtering.concepts.partition import shard_and_row
from filtering.core.uids import sampled
from filtering.embedding.artifacts import unit_rows
from filtering.filters.artifacts import PassingShard
from filtering.graph.artifacts import read_graph
from filtering.graph.sharded import inside_concept, positions
from filtering.measures.figures import RandomFeatures, nearest_distances, support_distances
from filtering.runtime.shuffle import runs
from filtering.selection.artifacts import picked_rows, read_picks
from filtering.storage.store import Store

# The seed of the random choice differs from the selectors' usual seeds, so that it does not repeat a selection.
RANDOM_SEED = 77
CHOICES = ("pool", "selection", "random")
SHARD_SUFFIX, CONCEPTS_SUFFIX = ".measured.npz", ".concepts.npz"
SHARD_NAME, CONCEPTS_NAME = "{}" + SHARD_SUFFIX, "{:08d}" + CONCEPTS_SUFFIX


class ShardMeasured(TypedDict):
    """How many rows of a shard reached selection, and how many the random choice takes."""

    rows: int
    random: int


class PartitionMeasured(TypedDict):
    """How many concepts of a partition have rows."""

    concepts: int


def measure_shard(
    shard: PassingShard, picks: Store, names: Sequence[str], share: float, concepts: Store, store: Store
) -> ShardMeasured:
    """Write a shard's part of coverage and matching; the random choice takes about the `share` that is kept."""
    rows = shard.rows()
    kept = np.isin(rows, shard_and_row(read_picks(picks, names, shard.index)["row"])[1])
    masks = {"pool": np.ones(len(rows), dtype=bool), "selection": kept}
    masks["random"] = sampled(shard.uids(rows), share, RANDOM_SEED)
    found = _Found(read_queries(concepts))
    for block, vectors in shard.vector_blocks(rows):
        found.add(unit_rows(vectors), {name: mask[block] for name, mask in masks.items()})
    store.write_arrays(SHARD_NAME.format(shard.identity), found.arrays())
    return ShardMeasured(rows=len(rows), random=int(masks["random"].sum()))


class _Found:
    """Sums of features of the pool and of both choices, and each query's distance to the nearest of a choice."""

    def __init__(self, queries: npt.NDArray[np.float16]) -> None:
        self.queries = unit_rows(queries)
        self.features = RandomFeatures.of(queries.shape[1])
        self.sums = dict.fromkeys(CHOICES, np.zeros(0))
        self.rows = dict.fromkeys(CHOICES, 0)
        self.nearest = {name: np.full(len(queries), np.inf, dtype=np.float32) for name in CHOICES[1:]}

    def add(self, vectors: npt.NDArray[np.float32], masks: dict[str, npt.NDArray[np.bool_]]) -> None:
        for name, mask in masks.items():
            chosen = vectors if mask.all() else vectors[mask]
            sums = self.features.sums(chosen)
            self.sums[name] = self.sums[name] + sums if len(self.sums[name]) else sums
            self.rows[name] += len(chosen)
            if name in self.nearest:
                self.nearest[name] = nearest_distances(self.queries, chosen, self.nearest[name])

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        found: dict[str, npt.NDArray[Any]] = {f"nearest_{name}": array for name, array in self.nearest.items()}
        found |= {f"sums_{name}": array for name, array in self.sums.items()}
        return found | {"rows": np.array([self.rows[name] for name in CHOICES])}


def measure_concepts(partition: int, picks: Store, share: float, graph: Store, store: Store) -> PartitionMeasured:
    """Write how many samples of each concept are kept and how far the others are from those, for both choices."""
    part = read_graph(graph, partition)
    if part is None:
        return PartitionMeasured(concepts=0)
    masks = [positions(picked_rows(picks, partition), part.row) >= 0]
    masks.append(sampled(part.uid, share, RANDOM_SEED))
    lines = []
    for members in runs(part.concept):
        inside = inside_concept(part, members)
        line = [int(part.concept[members.start]), members.stop - members.start]
        for mask in masks:
            apart = support_distances(inside, mask[members])
            near = np.isfinite(apart)
            line += [int(mask[members].sum()), int(near.sum()), float(apart[near].sum())]
        lines.append(line)
    store.write_arrays(CONCEPTS_NAME.format(partition), {"concepts": np.array(lines, dtype=np.float64)})
    return PartitionMeasured(concepts=len(lines))
