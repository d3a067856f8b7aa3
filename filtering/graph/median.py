"""The median squared length of a graph's edges: the unit of distances that a whole pool shares."""

from collections.abc import Sequence

import numpy as np

from filtering.core.radix_select import SCORE_DIGITS, join_digits, score_digits, score_of
from filtering.graph.artifacts import read_graph
from filtering.runtime.rank_counts import count_keys, key_at_rank
from filtering.runtime.records import RowCount
from filtering.runtime.stage import StageRun
from filtering.runtime.task_spec import TaskSpec, task
from filtering.storage.store import Store


def median_squared_length(stage: StageRun, label: str, graph: Store, partitions: int) -> float:
    """Return the median squared Euclidean length of all edges of a graph; 0.0 where it has none.

    Of an even number of edges it is the lower one of the two in the middle, so that it is the length of an edge,
    whatever the partitions. The counting tasks run in `stage`, under names that begin with `label`, and leave
    their counts there (`rank_counts.COUNTS_SUFFIX`).
    """

    def tasks_of(name: str, prefix: Sequence[int]) -> list[TaskSpec[RowCount]]:
        names = [f"{name}-{number:08d}" for number in range(partitions)]
        return [task(one, count_lengths, number, graph, prefix, one, stage.store) for number, one in enumerate(names)]

    # Every edge is counted from both of its ends, so that half of the counts is the number of edges.
    digits = key_at_rank(
        stage, label, tasks_of, lambda rows: rows // 2, SCORE_DIGITS, unit="partitions counted", whole=True
    )
    return score_of(join_digits(digits)) if digits else 0.0


def count_lengths(partition: int, graph: Store, prefix: Sequence[int], task_name: str, store: Store) -> RowCount:
    """Count the squared lengths at a partition's rows, those that begin with `prefix`, by the next digit."""
    part = read_graph(graph, partition)
    lengths = np.zeros(0, np.float32) if part is None else part.distances
    return count_keys(store, task_name, score_digits(lengths), prefix)
