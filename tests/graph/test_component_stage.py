"""Components counted by partitions and in rounds over buckets, against a union-find that holds all rows."""

import uuid

import numpy as np
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from plain_stage import PlainStage

from filtering.core.csr import sorted_edges
from filtering.graph import component_stage
from filtering.graph.artifacts import GRAPH_NAME
from filtering.graph.components import Components
from filtering.graph.contraction import distinct_links, merged, offers, target_of
from filtering.storage.store import Store


@st.composite
def graphs(draw):
    """How many rows, the partition of each, and edges: of chains, stars and random pairs."""
    rows = draw(st.integers(1, 40))
    row = st.integers(0, rows - 1)
    edges = draw(st.lists(st.tuples(row, row), max_size=40))
    edges += [(at, at + 1) for at in range(draw(st.integers(0, rows - 1)))]
    centre = draw(row)
    edges += [(centre, at) for at in range(draw(st.integers(0, rows)))]
    partition = draw(st.lists(st.integers(0, 3), min_size=rows, max_size=rows))
    return rows, partition, [edge for edge in edges if edge[0] != edge[1]], draw(st.randoms(use_true_random=False))


def written(rows, partition, edges, random):
    """Write each partition's part of the graph; return the stage and the partitions that have rows."""
    stage = PlainStage(Store(f"memory://{uuid.uuid4().hex}"))
    # Ids leave gaps, as those of shards do, and parts have rows in another order than that of ids.
    ids = np.arange(rows, dtype=np.int64) * 7 + 3
    both = {edge for left, right in edges for edge in ((left, right), (right, left))}
    for number in sorted(set(partition)):
        own = [row for row in range(rows) if partition[row] == number]
        random.shuffle(own)
        place = {row: at for at, row in enumerate(own)}
        found = [(place[left], ids[right]) for left, right in both if left in place]
        source, target = (np.array([one[at] for one in found], dtype=np.int64) for at in (0, 1))
        indptr, indices, distances = sorted_edges(source, target, np.ones(len(found), np.float32), len(own))
        arrays = {"row": ids[own], "uid": np.zeros(len(own), "S32"), "concept": np.zeros(len(own), np.int32)}
        graph = {"indptr": indptr, "indices": indices, "distances": distances}
        stage.store.write_arrays(GRAPH_NAME.format(number), arrays | graph)
    return stage, sorted(set(partition))


@examples(0.5)
@given(graphs(), st.integers(1, 12), st.integers(0, 3))
def test_counts_equal_those_of_all_rows_in_one_memory(graph, bucket_rows, last_links):
    rows, _, edges, _ = graph
    expected = Components(rows)
    expected.join(*(np.array([edge[at] for edge in edges], dtype=np.int64) for at in (0, 1)))
    sizes = expected.sizes()
    stage, present = written(*graph)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(component_stage, "BUCKET_ROWS", bucket_rows)
        patch.setattr(component_stage, "LAST_LINKS", last_links)
        found = component_stage.count_components(stage, present, rows)
    assert found == {"components": len(sizes), "largest_component": int(sizes[0])}
    # What rounds pass on is deleted.
    assert not [name for name in stage.store.names() if ".round-" in name and not name.endswith(".mark")]


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=60), st.integers(0, 5))
def test_a_round_merges_nodes_only_with_nodes_that_stay(pairs, number):
    left, right = (np.array([pair[at] for pair in pairs], dtype=np.int64) for at in (0, 1))
    links = distinct_links(left, right)
    merges = merged(offers(links, number, 0))
    into = dict(zip(merges["node"].tolist(), merges["into"].tolist(), strict=True))
    known = {frozenset(link) for link in links.tolist()}
    for node, other in into.items():
        assert node == other or (frozenset((node, other)) in known and into[other] == other)
    nodes = np.arange(31, dtype=np.int64)
    assert target_of(nodes, merges).tolist() == [into.get(node, node) for node in range(31)]


def test_a_long_chain_takes_few_rounds():
    nodes = np.arange(10_000, dtype=np.int64)
    links, rounds = distinct_links(nodes[1:], nodes[:-1]), 0
    while len(links):
        merges = merged(offers(links, rounds, 0))
        links = distinct_links(target_of(links["low"], merges), target_of(links["high"], merges))
        rounds += 1
    assert rounds < 60
