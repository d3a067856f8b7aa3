import hashlib

import numpy as np
import pytest

from filtering.config.methods import METHODS, D2Settings, NoSettings, RandomSettings
from filtering.core.csr import KnnGraph
from filtering.graph.knn import knn_graph
from filtering.graph.sharded import ShardGraph
from filtering.selection.concept import ConceptSamples, concept_samples
from filtering.selection.d2 import forward_messages, greedy_picks, select
from filtering.selection.registry import SELECTORS
from filtering.selection.selectors import d2_coreset, random_choice, top_scores


def uids_of(count):
    digits = [hashlib.md5(str(number).encode()).hexdigest() for number in range(count)]
    return np.array(sorted(digits), dtype="S32")


def whole_concept(random, count=40):
    graph = knn_graph(random.normal(size=(count, 5)).astype(np.float32), 4)
    nothing = np.zeros(0)
    return ConceptSamples(
        uids_of(count), random.random(count), graph, nothing.astype(np.int64), nothing.astype(np.float32), nothing
    )


def induced(graph, members):
    rows = np.repeat(np.arange(graph.nodes), graph.degrees)
    inside = (rows >= members.start) & (rows < members.stop)
    inside &= (graph.indices >= members.start) & (graph.indices < members.stop)
    counts = np.bincount(rows[inside] - members.start, minlength=members.stop - members.start)
    indptr = np.concatenate([[0], np.cumsum(counts)])
    return KnnGraph(indptr, graph.indices[inside] - members.start, graph.distances[inside])


@pytest.mark.parametrize("seed", range(5))
def test_d2_without_borders_is_plain_d2(seed):
    concept = whole_concept(np.random.default_rng(seed))
    settings = D2Settings(gamma_forward=0.5, gamma_reverse=0.2)
    expected = select(concept.graph, concept.scores, 15, gamma_forward=0.5, gamma_reverse=0.2)
    assert np.array_equal(d2_coreset(concept, 15, settings), expected)


@pytest.mark.parametrize("seed", range(5))
def test_d2_hears_the_neighbours_beyond_the_border(seed):
    random = np.random.default_rng(seed)
    graph = knn_graph(random.normal(size=(60, 4)).astype(np.float32), 5)
    scores = random.random(60)
    row = random.permutation(60) * 3
    part = ShardGraph(row, uids_of(60), np.repeat([0, 1], 30), graph.indptr, row[graph.indices], graph.distances)
    settings = D2Settings(gamma_forward=0.7, gamma_reverse=0.3)
    for members in (slice(0, 30), slice(30, 60)):
        concept = concept_samples(part, members, scores, graph.indices)
        messages = forward_messages(graph, scores, 0.7)[members]
        expected = greedy_picks(induced(graph, members), messages, 12, 0.3)
        assert concept.uids.tolist() == part.uid[members].tolist()
        assert np.array_equal(concept.scores, scores[members])
        assert len(concept.border_rows) == graph.degrees[members].sum() - len(concept.graph.indices)
        assert np.array_equal(d2_coreset(concept, 12, settings), expected)


def test_top_takes_the_highest_scores_and_ties_in_order():
    graph = KnnGraph([0] * 6, [], [])
    nothing = np.zeros(0, dtype=np.int64)
    concept = ConceptSamples(
        uids_of(5), np.array([1.0, 3.0, 2.0, 3.0, 1.0]), graph, nothing, nothing.astype(np.float32), np.zeros(0)
    )
    assert top_scores(concept, 4, NoSettings()).tolist() == [1, 3, 2, 0]
    assert top_scores(concept, 0, NoSettings()).tolist() == []


def test_random_depends_on_the_seed_and_not_on_the_scores():
    concept = whole_concept(np.random.default_rng(0))
    other = whole_concept(np.random.default_rng(1))
    first = random_choice(concept, 20, RandomSettings(seed=1))
    assert np.array_equal(first, random_choice(other, 20, RandomSettings(seed=1)))
    assert not np.array_equal(first, random_choice(concept, 20, RandomSettings(seed=2)))
    assert len(set(first.tolist())) == 20


@pytest.mark.parametrize("name", ["d2", "random", "top"])
def test_a_smaller_budget_gives_a_prefix(name):
    concept = whole_concept(np.random.default_rng(3))
    settings = METHODS[name].settings()
    whole = SELECTORS[name].pick(concept, 40, settings)
    assert sorted(whole.tolist()) == list(range(40))
    assert np.array_equal(SELECTORS[name].pick(concept, 11, settings), whole[:11])
