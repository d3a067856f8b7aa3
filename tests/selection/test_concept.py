from dataclasses import replace

import numpy as np
import pytest

from filtering.config.methods import D2Settings
from filtering.core.csr import KnnGraph
from filtering.graph.knn import knn_graph
from filtering.selection.concept import ConceptSamples, induced
from filtering.selection.d2 import forward_messages, greedy_picks
from filtering.selection.kernel import Kernel
from filtering.selection.selectors import d2_coreset, kernel_of, messages_of


def one_concept(graph, scores, members):
    """Cut some nodes out of a graph as a concept, by loops; return it with the names of its samples."""
    indptr, indices, distances = [0], [], []
    border = []
    for at, node in enumerate(members):
        for edge in range(graph.indptr[node], graph.indptr[node + 1]):
            target, distance = int(graph.indices[edge]), float(graph.distances[edge])
            if target in members:
                indices.append(members.index(target))
                distances.append(distance)
            else:
                border.append((at, distance, scores[target]))
        indptr.append(len(indices))
    rows, lengths, ends = zip(*border, strict=True) if border else ((), (), ())
    return ConceptSamples(
        np.array([f"{node:032x}" for node in members], dtype="S32"),
        np.array([scores[node] for node in members], dtype=np.float64),
        KnnGraph(indptr, indices, distances),
        np.array(rows, dtype=np.int64),
        np.array(lengths, dtype=np.float32),
        np.array(ends, dtype=np.float64),
    )


OPTIONS = [
    {},
    {"rounds": 0},
    {"distance": "euclidean"},
    {"scale": "median"},
    {"messages": "mean"},
    {"distance": "euclidean", "scale": "median", "messages": "mean"},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_d2_hears_the_border_as_the_whole_graph_does(options):
    random = np.random.default_rng(5)
    graph = knn_graph(random.normal(size=(40, 3)).astype(np.float32), 4)
    scores = random.random(40)
    members = sorted(random.permutation(40)[:25].tolist())
    concept = one_concept(graph, scores, members)
    own = D2Settings(gamma_forward=0.7, gamma_reverse=0.3, **options)
    edges = [edge for node in members for edge in range(graph.indptr[node], graph.indptr[node + 1])]
    lengths = graph.distances[edges].astype(np.float64)
    lengths = np.sqrt(lengths) if own.distance == "euclidean" else lengths
    kernel = Kernel(own.distance, float(np.median(lengths)) if own.scale == "median" else 1.0)
    heard = forward_messages(graph, scores, 0.7, messages=own.messages, kernel=kernel)[members]
    expected = greedy_picks(concept.graph, heard if own.rounds else scores[members], 25, 0.3, kernel=kernel)
    assert kernel_of(concept, own) == kernel
    assert np.allclose(messages_of(concept, own), heard, rtol=1e-12)
    assert np.array_equal(d2_coreset(concept, 25, own), expected)


def test_more_rounds_are_the_callers():
    random = np.random.default_rng(6)
    graph = knn_graph(random.normal(size=(30, 3)).astype(np.float32), 4)
    concept = one_concept(graph, random.random(30), list(range(30)))
    earlier = replace(concept, scores=messages_of(concept, D2Settings()))
    expected = greedy_picks(graph, forward_messages(graph, concept.scores, rounds=2), 30)
    assert np.array_equal(d2_coreset(earlier, 30, D2Settings(rounds=2)), expected)


@pytest.mark.parametrize("seed", range(10))
def test_a_part_of_a_concept_is_cut_as_loops_cut_it(seed):
    random = np.random.default_rng(seed)
    graph = knn_graph(random.normal(size=(40, 3)).astype(np.float32), 4)
    scores = random.random(40)
    members = sorted(random.permutation(40)[:30].tolist())
    concept = replace(one_concept(graph, scores, members), vectors=random.random((30, 3)).astype(np.float32))
    chosen = np.flatnonzero(random.random(30) < random.choice([0.0, 0.4, 1.0]))
    part = induced(concept, chosen)
    expected = one_concept(graph, scores, [members[at] for at in chosen])
    assert part.uids.tolist() == expected.uids.tolist()
    assert part.scores.tolist() == expected.scores.tolist()
    for name in ("indptr", "indices", "distances"):
        assert np.array_equal(getattr(part.graph, name), getattr(expected.graph, name))
    borders = [
        sorted(zip(one.border_rows, one.border_distances, one.border_scores, strict=True)) for one in (part, expected)
    ]
    assert borders[0] == borders[1]
    assert part.border_distances.dtype == np.float32
    assert np.array_equal(part.vectors, concept.vectors[chosen])
