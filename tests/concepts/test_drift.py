import uuid
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filtering.concepts.artifacts import FIT
from filtering.concepts.drift import FEWEST_ROWS, drift, grown_concepts
from filtering.config.run import Concepts
from filtering.runtime.records import to_plain
from filtering.storage.store import Store


@dataclass
class Sums:
    sizes: np.ndarray
    distances: np.ndarray


def sums_of(sizes, mean):
    sizes = np.array(sizes, dtype=np.int64)
    return Sums(sizes, sizes * float(mean))


def drift_of(fit, new, pool, most=0.1):
    store = Store(f"memory://{uuid.uuid4().hex}")
    store.write_arrays(FIT, {"sizes": fit.sizes, "distances": fit.distances})
    return drift(store, new, pool, Concepts(drift=most))


def test_a_pool_like_the_one_that_was_fitted_needs_no_refit():
    fit = sums_of([600, 400], 0.25)
    found = drift_of(fit, sums_of([60, 40], 0.25), sums_of([660, 440], 0.25))
    assert to_plain(found) == {
        "new_rows": 100,
        "distance": 0.25,
        "distance_at_fit": 0.25,
        "grown": 0,
        "rows_at_fit": 1000,
        "refit": [],
    }


@pytest.mark.parametrize(("distance", "most", "due"), [(0.27, 0.1, False), (0.28, 0.1, True), (0.28, 0.2, False)])
def test_new_rows_far_from_their_centroids_call_for_a_refit(distance, most, due):
    found = drift_of(sums_of([1000], 0.25), sums_of([10], distance), sums_of([1010], 0.25), most)
    said = f"new samples lie {distance:.3f} from their centroids on average, 0.250 when the concepts were trained"
    assert list(found.refit) == ([said] if due else [])


def test_a_concept_that_has_more_than_doubled_its_share_calls_for_a_refit():
    fit = sums_of([100, 900], 0.5)
    assert drift_of(fit, sums_of([0, 0], 0), sums_of([2_000, 8_000], 0.5)).grown == 0
    found = drift_of(fit, sums_of([0, 0], 0), sums_of([300, 1_600], 0.5))
    assert (found.grown, found.refit) == (0, ())
    found = drift_of(sums_of([500, 9_500], 0.5), sums_of([0, 0], 0), sums_of([1_100, 8_900], 0.5))
    assert found.grown == 1
    assert list(found.refit) == ["1 concept has more than doubled its share of the pool"]
    found = drift_of(sums_of([500, 500, 9_000], 0.5), sums_of([0] * 3, 0), sums_of([1_100, 1_100, 7_800], 0.5))
    assert list(found.refit) == ["2 concepts have more than doubled their share of the pool"]


def test_a_pool_of_more_than_twice_the_rows_calls_for_a_refit():
    fit = sums_of([500, 500], 0.5)
    assert drift_of(fit, sums_of([0, 0], 0), sums_of([1_000, 1_000], 0.5)).refit == ()
    found = drift_of(fit, sums_of([0, 0], 0), sums_of([1_000, 1_001], 0.5))
    assert list(found.refit) == ["the pool has grown from 1,000 to 2,001 samples"]


def test_without_new_rows_there_is_no_distance():
    found = drift_of(sums_of([5], 0.5), sums_of([0], 0), sums_of([5], 0.5))
    assert (found.new_rows, found.distance, found.refit) == (0, None, ())


def test_concepts_that_were_fitted_on_nothing_have_no_distance_to_exceed():
    found = drift_of(sums_of([0], 0), sums_of([3], 0.5), sums_of([3], 0.5))
    assert found.distance_at_fit is None
    assert list(found.refit) == ["the pool has grown from 0 to 3 samples"]


sizes = st.lists(st.tuples(st.integers(0, 3_000), st.integers(0, 9_000)), min_size=1, max_size=6)


@given(sizes)
def test_grown_concepts_are_those_of_a_plain_loop(pairs):
    before, now = (np.array(column, dtype=np.int64) for column in zip(*pairs, strict=True))
    every, today = max(int(before.sum()), 1), max(int(now.sum()), 1)
    # Twice the share, in whole numbers.
    expected = sum(b >= FEWEST_ROWS and b * every > 2 * a * today for a, b in pairs)
    near = any(b * every == 2 * a * today for a, b in pairs)
    assert near or grown_concepts(before, now) == expected


@given(sizes, st.integers(2, 5))
def test_a_pool_that_grows_alike_everywhere_has_no_grown_concept(pairs, times):
    before = np.array([pair[0] for pair in pairs], dtype=np.int64)
    assert grown_concepts(before, before * times) == 0
