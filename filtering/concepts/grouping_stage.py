"""The partitions stage: every shard's rows, replicas included, grouped by the partition of their concepts."""

from collections.abc import Sequence

from filtering.concepts.artifacts import PartitionsResult
from filtering.concepts.grouping import group
from filtering.config.run import Graph
from filtering.filters.artifacts import PassingShard, stage_of
from filtering.runtime.stage import StageKey, StageRun
from filtering.shards.vectors import Side
from filtering.storage.store import Store

NAME = "partitions"
VERSION = 5


def partitions_key(concepts: str, side: Side) -> StageKey:
    """Return the stage's identity; `concepts` is the fingerprint of the side's concepts stage."""
    return StageKey(stage_of(NAME, side), VERSION, None, (concepts,))


def group_rows(stage: StageRun, settings: Graph, shards: Sequence[PassingShard], concepts: Store) -> PartitionsResult:
    """Write each shard's rows grouped by partition, replicas included."""
    counts = stage.over_shards("", "shards", shards, group, settings.max_replicas, concepts, stage.store)
    return PartitionsResult(
        rows=sum(count["rows"] for count in counts),
        replicas=sum(count["replicas"] for count in counts),
        copies=sum(count["copies"] for count in counts),
    )
