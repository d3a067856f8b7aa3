import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filtering.config.methods import SemDedupSettings
from filtering.core.csr import KnnGraph
from filtering.core.errors import InputError
from filtering.selection.concept import ConceptSamples
from filtering.selection.semdedup import semdedup, without_duplicates


def plain_semdedup(vectors, epsilon, matches):
    mean = vectors.astype(np.float64).sum(axis=0)
    order = sorted(range(len(vectors)), key=lambda at: (float((vectors[at] * mean).sum()), at))
    kept = []
    for place, j in enumerate(order):
        earlier = kept if matches == "survivors" else order[:place]
        if not any(float(vectors[i] @ vectors[j]) > 1 - epsilon for i in earlier):
            kept.append(j)
    return kept


def unit(points):
    return (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32)


def on_a_circle(degrees):
    angles = np.radians(np.asarray(degrees, dtype=np.float64))
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def no_borderline(vectors, epsilon):
    return (np.abs(vectors @ vectors.T - (1 - epsilon)) > 1e-5).all()


@pytest.mark.slow
@pytest.mark.parametrize("matches", ["survivors", "all"])
@pytest.mark.parametrize("block", [1, 7, 64, 2_048])
def test_keeps_what_a_plain_loop_keeps(matches, block):
    compared = 0
    for seed in range(12):
        random = np.random.default_rng(seed)
        vectors = unit(random.normal(size=(int(random.integers(1, 90)), 3)))
        for epsilon in (0.01, 0.05, 0.3):
            if no_borderline(vectors, epsilon):
                kept = semdedup(vectors, epsilon, matches, block=block)
                assert kept.dtype == np.int64
                assert kept.tolist() == plain_semdedup(vectors, epsilon, matches)
                compared += 1
    assert compared > 20


@given(
    st.lists(st.integers(0, 35), max_size=25), st.sampled_from([0.02, 0.05, 0.2, 0.6]), st.sampled_from([1, 3, 2_048])
)
def test_duplicates_and_ties_are_kept_as_a_plain_loop_keeps_them(tens, epsilon, block):
    vectors = on_a_circle([10 * ten for ten in tens]).reshape(-1, 2)
    for matches in ("survivors", "all"):
        kept = semdedup(vectors, epsilon, matches, block=block)
        assert kept.tolist() == plain_semdedup(vectors, epsilon, matches)


def test_a_chain_of_neighbours_falls_whole_in_the_released_behaviour():
    # Each is near the next alone; the mean direction is about that of the many.
    vectors = on_a_circle([0, 10, 20, 30] + 20 * [40])
    assert semdedup(vectors, 0.02).tolist() == [0, 2, 4]
    assert semdedup(vectors, 0.02, "all").tolist() == [0]


def test_every_survivor_is_apart_and_every_other_is_near_one():
    vectors = unit(np.random.default_rng(3).normal(size=(3_000, 4)))
    kept = semdedup(vectors, 0.05, block=256)
    cosines = vectors[kept] @ vectors[kept].T
    assert (cosines[~np.eye(len(kept), dtype=bool)] <= 0.95 + 1e-6).all()
    assert ((vectors @ vectors[kept].T).max(axis=1) > 0.95 - 1e-6).all()
    assert np.array_equal(kept, semdedup(vectors, 0.05, block=1_000))


def test_of_equal_vectors_the_first_stays():
    vectors = np.tile(unit(np.random.default_rng(0).normal(size=(1, 8))), (50, 1))
    assert semdedup(vectors, 0.05, block=16).tolist() == [0]
    assert semdedup(vectors, 0.05, "all", block=16).tolist() == [0]


def concept_with(vectors):
    count, nothing = 0 if vectors is None else len(vectors), np.zeros(0)
    uids = np.array([f"{at:032x}" for at in range(count)], dtype="S32")
    graph = KnnGraph([0] * (count + 1), [], [])
    borders = nothing.astype(np.int64), nothing.astype(np.float32), nothing
    return ConceptSamples(uids, np.ones(count), graph, *borders, vectors)


def test_the_adaptor_ignores_the_budget():
    vectors = on_a_circle([0, 1, 90, 91, 180])
    settings = SemDedupSettings(epsilon=0.01, matches="all")
    for budget in (0, 2, 5):
        assert np.array_equal(
            without_duplicates(concept_with(vectors), budget, settings), semdedup(vectors, 0.01, "all")
        )
    assert without_duplicates(concept_with(vectors[:0]), 0, settings).shape == (0,)


def test_a_concept_without_vectors_is_refused():
    with pytest.raises(InputError, match="vectors"):
        without_duplicates(concept_with(None), 0, SemDedupSettings())


@pytest.mark.parametrize(
    ("vectors", "epsilon", "matches", "named"),
    [
        (np.full((2, 2), np.nan, dtype=np.float32), 0.1, "all", "finite"),
        (np.array([[np.inf, 0], [-np.inf, 0]], dtype=np.float32), 0.1, "all", "finite"),
        (np.zeros(3, dtype=np.float32), 0.1, "all", "matrix"),
        (np.zeros((1, 2), dtype=np.float32), 0.0, "all", "epsilon"),
        (np.zeros((1, 2), dtype=np.float32), np.nan, "all", "epsilon"),
        (np.zeros((1, 2), dtype=np.float32), 0.1, "survivor", "did you mean survivors"),
    ],
)
def test_bad_arguments_are_refused(vectors, epsilon, matches, named):
    with pytest.raises(InputError, match=named):
        semdedup(vectors, epsilon, matches)
