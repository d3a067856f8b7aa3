import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from filtering.report.layout import concept_map


def unit(rows, seed=0, dimension=8):
    vectors = np.random.default_rng(seed).normal(size=(rows, dimension)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@given(st.integers(1, 60), st.integers(1, 9))
def test_every_concept_has_a_place_on_the_map(rows, dimension):
    places = concept_map(unit(rows, dimension=dimension))
    assert places.shape == (rows, 2)
    assert np.isfinite(places).all()
    assert (places >= 0).all()
    assert (places <= 1).all()


def test_concepts_that_are_alike_lie_together():
    centres = unit(3, dimension=32)
    vectors = np.concatenate([centre + 0.02 * unit(20, seed, 32) for seed, centre in enumerate(centres)])
    places = concept_map(vectors.astype(np.float32)).reshape(3, 20, 2)
    within = np.mean([np.linalg.norm(group - group.mean(axis=0), axis=1).mean() for group in places])
    apart = np.linalg.norm(places.mean(axis=1)[:, None] - places.mean(axis=1)[None], axis=2)
    assert within < 0.5 * apart[np.triu_indices(3, 1)].min()


def test_the_map_does_not_depend_on_the_sign_of_an_axis():
    vectors = unit(30)
    assert np.array_equal(concept_map(vectors), concept_map(vectors.copy()))
