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
# Rows whose features and products stay in a cache.
HELD_ROWS = 1_024
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
    chosen = np.stack([masks[name] for name in CHOICES])
    found = _Found(read_queries(concepts))
    for block, vectors in shard.vector_blocks(rows):
        for start in range(0, len(vectors), HELD_ROWS):
            held = slice(start, start + HELD_ROWS)
            found.add(unit_rows(vectors[held]), chosen[:, block][:, held])
    store.write_arrays(SHARD_NAME.format(shard.identity), found.arrays())
    return ShardMeasured(rows=len(rows), random=int(masks["random"].sum()))


class _Found:
    """Sums of features of the pool and of both choices, and each query's distance to the nearest of a choice."""

    def __init__(self, queries: npt.NDArray[np.float16]) -> None:
        self.queries = unit_rows(queries)
        self.features = RandomFeatures.of(queries.shape[1])
        self.sums = np.zeros((len(CHOICES), queries.shape[1] + self.features.weights.shape[1]))
        self.rows = np.zeros(len(CHOICES), dtype=np.int64)
        self.nearest = np.full((2, len(queries)), np.inf, dtype=np.float32)

    def add(self, vectors: npt.NDArray[np.float32], chosen: npt.NDArray[np.bool_]) -> None:
        """Add rows: unit-norm, float32 (n, d), and which of `CHOICES` each is in, bool (3, n)."""
        self.sums += self.features.sums(vectors, chosen)
        self.rows += chosen.sum(axis=1)
        self.nearest = np.minimum(self.nearest, nearest_distances(self.queries, vectors, chosen[1:]))

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return all of it by name."""
        found: dict[str, npt.NDArray[Any]] = {
            f"nearest_{name}": array for name, array in zip(CHOICES[1:], self.nearest, strict=True)
        }
        found |= {f"sums_{name}": array for name, array in zip(CHOICES, self.sums, strict=True)}
        return found | {"rows": self.rows}


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
