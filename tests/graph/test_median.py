import uuid
from dataclasses import fields

import numpy as np
import pytest
from plain_stage import PlainStage

from filtering.core.csr import sorted_edges
from filtering.graph.artifacts import GRAPH_NAME
from filtering.graph.median import median_squared_length
from filtering.graph.sharded import ShardGraph
from filtering.storage.store import Store


def written(store, edges, partition_of):
    """Write an undirected graph in parts: each has all edges at its rows."""
    for number in range(max(partition_of) + 1):
        rows = np.flatnonzero(np.array(partition_of) == number)
        both = [*edges, *((b, a, length) for a, b, length in edges)]
        here = [(int(np.searchsorted(rows, a)), b, length) for a, b, length in both if a in rows]
        source, target, lengths = (
            (np.array(column) for column in zip(*here, strict=True)) if here else [np.zeros(0)] * 3
        )
        csr = sorted_edges(source.astype(int), target.astype(int), lengths.astype(np.float32), len(rows))
        part = ShardGraph(rows, rows.astype("S32"), np.zeros(len(rows), np.int32), *csr)
        store.write_arrays(GRAPH_NAME.format(number), {one.name: getattr(part, one.name) for one in fields(part)})


@pytest.mark.parametrize("count", [1, 2, 5, 6])
@pytest.mark.parametrize("partition_of", [[0] * 7, [0, 1, 0, 1, 2, 2, 0]])
def test_the_median_is_that_of_every_edge_once(count, partition_of):
    pairs = [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (0, 6)][:count]
    lengths = np.random.default_rng(count).random(count).astype(np.float32)
    edges = [(*pair, length) for pair, length in zip(pairs, lengths.tolist(), strict=True)]
    graph, store = (Store(f"memory://{uuid.uuid4().hex}") for _ in range(2))
    written(graph, edges, partition_of)
    found = median_squared_length(PlainStage(store), "median", graph, max(partition_of) + 1)
    assert found == np.sort(lengths)[(count - 1) // 2]


def test_a_graph_without_edges_has_no_length():
    graph, store = (Store(f"memory://{uuid.uuid4().hex}") for _ in range(2))
    written(graph, [], [0, 0, 1])
    assert median_squared_length(PlainStage(store), "median", graph, 2) == 0
