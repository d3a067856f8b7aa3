import uuid
from dataclasses import replace

import numpy as np
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from test_selectors import uids_of

from filtering.config.methods import METHODS, FlexRandSettings
from filtering.config.selection import Step
from filtering.core.csr import KnnGraph
from filtering.embedding.artifacts import unit_rows
from filtering.graph.knn import knn_graph
from filtering.selection.concept import ConceptSamples
from filtering.selection.orders import (
    Order,
    digest_of,
    read_orders,
    stored_budget,
    write_orders,
)
from filtering.selection.registry import SELECTORS
from filtering.storage.store import Store


@pytest.fixture
def store():
    return Store(f"memory://{uuid.uuid4().hex}")


def concept_of(seed, count, distinct=0, crossing=5):
    """A concept of random samples: with edges that cross its border, and scores of which some are equal."""
    random = np.random.default_rng(seed)
    # Some samples twice, so that distances are equal too.
    vectors = unit_rows(random.normal(size=(max(count, 1), 5)))[random.integers(0, max(count, 1), count)]
    graph = knn_graph(vectors, 3) if count > 1 else KnnGraph([0] * (count + 1), [], [])
    border = np.sort(random.integers(0, count, crossing if count else 0))
    scores = random.integers(0, distinct, count) / 4 if distinct else random.random(count)
    lengths, ends = random.random(len(border)).astype(np.float32), random.random(len(border))
    return ConceptSamples(uids_of(count), scores.astype(np.float64), graph, border, lengths, ends, vectors)


concepts = st.builds(concept_of, st.integers(0, 2**32 - 1), st.integers(0, 40), st.sampled_from([0, 1, 3]))
STEPS = {
    "d2": [
        {},
        {"gamma_forward": 0.3, "gamma_reverse": 0.2},
        {"rounds": 0},
        {"scale": "median", "messages": "mean"},
        {"distance": "euclidean", "rounds": 3},
    ],
    "random": [{}, {"seed": 7}],
    "semdedup": [{}, {"epsilon": 0.5, "matches": "all"}],
}
PREFIX = [(name, step) for name, one in SELECTORS.items() if one.prefix for step in STEPS.get(name, [{}])]


@pytest.mark.parametrize(("name", "options"), PREFIX, ids=str)
@examples(0.2)
@given(concept=concepts, data=st.data())
def test_what_is_picked_for_a_budget_begins_what_is_picked_for_a_larger_one(name, options, concept, data):
    step, pick = METHODS[name].settings(**options), SELECTORS[name].pick
    larger = data.draw(st.integers(0, len(concept.uids)))
    smaller = data.draw(st.integers(0, larger))
    picks, fewer = pick(concept, larger, step), pick(concept, smaller, step)
    if METHODS[name].budget == "":
        # The method itself decides how many.
        assert np.array_equal(picks, fewer)
    else:
        assert (len(picks), len(fewer)) == (larger, smaller)
        assert np.array_equal(picks[:smaller], fewer)
    assert len(set(picks.tolist())) == len(picks)


def test_a_draw_from_easy_and_hard_samples_is_no_prefix_of_a_larger_one():
    concept, step = concept_of(1, 40), FlexRandSettings(split=0.2)
    larger, smaller = (SELECTORS["flexrand"].pick(concept, budget, step) for budget in (30, 10))
    assert larger[:10].tolist() != smaller.tolist()
    assert not SELECTORS["flexrand"].prefix


def flipped(array, at):
    """The array with one value changed by as little as possible."""
    other = array.copy()
    if other.dtype.kind == "S":
        last = other[at]
        other[at] = last[:-1] + (b"0" if last[-1:] != b"0" else b"1")
    elif other.dtype.kind == "i":
        other[at] += 1
    else:
        other[at] = np.nextafter(other[at], np.asarray(np.inf, other.dtype))
    return other


def changed(samples, name, at):
    """The samples with one value of one of their arrays changed."""
    if name not in ("indptr", "indices", "distances"):
        array = getattr(samples, name)
        return replace(samples, **{name: flipped(array.reshape(-1), at % array.size).reshape(array.shape)})
    graph = object.__new__(KnnGraph)
    for part in ("indptr", "indices", "distances"):
        array = getattr(samples.graph, part)
        object.__setattr__(graph, part, flipped(array, at % array.size) if part == name else array)
    return replace(samples, graph=graph)


ARRAYS = ("uids", "scores", "border_rows", "border_distances", "border_scores", "vectors")


@pytest.mark.parametrize("name", [*ARRAYS, "indptr", "indices", "distances"])
@examples(0.2)
@given(seed=st.integers(0, 2**32 - 1), at=st.integers(0, 10**6))
def test_a_digest_tells_any_change_of_the_samples(name, seed, at):
    samples = concept_of(seed, 12)
    assert digest_of(samples, Step()) == digest_of(concept_of(seed, 12), Step())
    assert digest_of(changed(samples, name, at), Step()) != digest_of(samples, Step())


def test_a_digest_tells_where_an_array_ends():
    samples = replace(concept_of(2, 6), vectors=None)
    digests = {
        digest_of(samples, Step(), extra)
        for extra in ([], [np.arange(4)], [np.arange(2), np.arange(2, 4)], [np.arange(4).astype(np.int32)])
    }
    assert len(digests) == 4
    assert digest_of(samples, Step()) != digest_of(replace(samples, vectors=np.zeros((0, 5), np.float32)), Step())
    shorter = replace(samples, border_rows=samples.border_rows[:-1])
    assert digest_of(samples, Step()) != digest_of(shorter, Step())


def test_a_digest_does_not_depend_on_how_arrays_lie_in_memory():
    samples = concept_of(3, 9)
    spread = np.zeros((9, 10), dtype=np.float32)
    spread[:, ::2] = samples.vectors
    assert digest_of(replace(samples, vectors=spread[:, ::2]), Step()) == digest_of(samples, Step())


OTHERS = {
    "method": "top",
    "score": "uniform",
    "keep": 7,
    "per": "increment",
    "budget": "uniform",
    "gamma_forward": 0.5,
    "gamma_reverse": 0.5,
    "rounds": 2,
    "exchanges": 8,
    "distance": "euclidean",
    "scale": "median",
    "messages": "mean",
    "variant": "paper",
    "temperature": 0.2,
    "minimum": 3,
    "strata": 10,
    "drop_hardest": 0.1,
    "difficulty": "clip_score",
    "fit": "clip_score",
    "scope": "concept",
    "levels": 3,
    "epsilon": 0.1,
    "matches": "all",
    "split": 0.4,
    "threshold": 0.3,
    "seed": 1,
}


# Steps that read the keys that the paper's D2 with proportional budgets does not.
READERS = {
    "method": {},
    "variant": {"method": "d2"},
    "fit": {"variant": "novelty"},
    "temperature": {"budget": "complexity"},
    **{key: {"budget": "strata"} for key in ("strata", "drop_hardest", "difficulty", "scope")},
    "levels": {"budget": "hierarchical"},
    **{key: {"method": "semdedup"} for key in ("epsilon", "matches")},
    "split": {"method": "flexrand"},
    "threshold": {"method": "threshold"},
    "seed": {"method": "random"},
}
UNORDERED = {"score", "keep", "per", "budget", "minimum", "temperature", "levels", "threshold", "difficulty", "fit"}


@pytest.mark.parametrize("key", Step.known_keys())
def test_a_digest_tells_settings_that_decide_the_order_and_no_others(key):
    samples, plain = concept_of(4, 8), READERS.get(key, {"variant": "paper"})
    step, other = Step(**plain), Step(**plain, **{key: OTHERS[key]})
    assert step != other
    assert (digest_of(samples, step) == digest_of(samples, other)) == (key in UNORDERED)


@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_orders_are_kept_somewhat_beyond_the_budget(budget, size):
    kept = stored_budget(budget, size)
    assert min(budget, size) <= kept <= size
    assert kept == size or kept >= max(budget * 1.25 - 1, budget + 16)


def same_picks(found, expected):
    return found is not None and found.dtype == np.int64 and found.tolist() == expected


def test_an_order_is_taken_as_far_as_it_reaches():
    known = Order(3, (1, 2), np.array([4, 0, 2]))
    for budget, size in ((0, 9), (2, 9), (3, 9), (9, 3)):
        assert known.serves((1, 2), budget, size)
    assert not known.serves((1, 2), 4, 9)
    assert not known.serves((1, 3), 2, 9)
    assert not known.serves((2, 1), 2, 9)


digests = st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
orders = st.dictionaries(st.integers(0, 2**31 - 1), st.tuples(digests, st.permutations(range(6)), st.integers(0, 6)))


@given(orders)
def test_orders_come_back(given_orders):
    store = Store(f"memory://{uuid.uuid4().hex}")
    kept = {concept: (digest, picks[:count]) for concept, (digest, picks, count) in given_orders.items()}
    written = [
        Order(concept, digest, np.array(picks, dtype=np.int64)) for concept, (digest, picks) in sorted(kept.items())
    ]
    write_orders(store, 5, written)
    known = read_orders(store, 5)
    assert known.keys() == kept.keys()
    for concept, (digest, picks) in kept.items():
        assert known[concept].concept == concept
        assert same_picks(known[concept].picks, picks)
        assert known[concept].serves(digest, len(picks), 9)
        assert not known[concept].serves(digest, len(picks) + 1, 9)
        assert not known[concept].serves((digest[0] ^ 1, digest[1]), 0, 9)


def test_a_partition_without_orders_knows_none(store):
    assert read_orders(store, 0) == {}
