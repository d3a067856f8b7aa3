"""Soft cap sampling: the clocks draw as drawing one sample after the other does."""

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from filtering.config.weights import Weights
from filtering.selection.soft_cap import Moments, SoftCap

UIDS = np.array([hashlib.md5(f"{number}".encode()).hexdigest() for number in range(400)], dtype="S32")


def bound_of(cap: SoftCap, scores: np.ndarray, draws: int) -> tuple[int, ...]:
    """The key of the last of so many draws, by sorting all of them."""
    keys = cap.keys(UIDS[: len(scores)], scores)
    return tuple(sorted((tuple(key) for key in keys.tolist()), reverse=True)[draws - 1])


def repeats_of(scores: np.ndarray, draws: int, **settings) -> np.ndarray:
    cap = SoftCap(Weights(**settings), 0.0, 1.0)
    return cap.repeats(UIDS[: len(scores)], scores, bound_of(cap, scores, draws))


def drawn_one_by_one(scores: np.ndarray, draws: int, penalty: float, seed: int) -> np.ndarray:
    """FLYT's sampling with batches of one: a draw from the softmax of scores, which it then lowers."""
    random, strengths = np.random.default_rng(seed), scores.astype(float) - penalty
    times = np.ones(len(scores), dtype=int)
    for _ in range(draws):
        weights = np.exp(strengths - strengths.max())
        at = random.choice(len(scores), p=weights / weights.sum())
        times[at] += 1
        strengths[at] -= penalty
    return times


def test_draws_are_those_of_the_softmax_with_a_penalty():
    scores = np.array([2.0, 1.0, 0.0, -1.0, 0.5], dtype=np.float32)
    ours = np.mean([repeats_of(scores, 20, penalty=0.5, most=64, seed=seed) for seed in range(250)], axis=0)
    theirs = np.mean([drawn_one_by_one(scores, 20, 0.5, seed) for seed in range(250)], axis=0)
    assert np.allclose(ours, theirs, atol=0.3)
    assert ours[0] > ours[1] > ours[4] > ours[2] > ours[3]


@given(st.integers(1, 60), st.integers(2, 12), st.floats(0.01, 5), st.integers(0, 2**32 - 1), st.data())
def test_an_epoch_has_exactly_the_draws_that_are_asked_for(count, most, penalty, seed, data):
    scores = np.random.default_rng(seed).normal(size=count).astype(np.float32)
    draws = data.draw(st.integers(1, count * (most - 1)))
    repeats = repeats_of(scores, draws, penalty=penalty, most=most, seed=seed)
    assert repeats.sum() == count + draws
    assert (repeats >= 1).all() and (repeats <= most).all()


def test_a_sample_is_drawn_as_often_whatever_it_stands_beside():
    scores = np.random.default_rng(0).normal(size=400).astype(np.float32)
    cap = SoftCap(Weights(), 0.0, 1.0)
    bound = bound_of(cap, scores, 400)
    whole = cap.repeats(UIDS, scores, bound)
    parts = [cap.repeats(UIDS[part], scores[part], bound) for part in (slice(0, 7), slice(7, 390), slice(390, 400))]
    assert np.array_equal(np.concatenate(parts), whole)
    assert np.corrcoef(whole, scores)[0, 1] > 0.5


def test_a_shard_without_kept_samples_has_no_repeats():
    cap = SoftCap(Weights(most=3), 0.0, 1.0)
    none = cap.repeats(np.zeros(0, "S32"), np.zeros(0, np.float32), (1, 2, 3, 4))
    assert (none.dtype, len(none)) == (np.int32, 0)


def test_a_larger_penalty_evens_the_repeats_out():
    scores = np.random.default_rng(1).normal(size=400).astype(np.float32)
    spread = [repeats_of(scores, 800, penalty=penalty, most=64).std() for penalty in (0.1, 1.0, 5.0)]
    assert spread[0] > spread[1] > spread[2]


def test_at_a_low_temperature_the_highest_score_is_drawn_each_time():
    scores = np.array([3.0, 1.75, 0.25], dtype=np.float32)
    # Less 1 for each time, 3 is drawn at 2, 1 and 0, and 1.75 at 0.75; 0.25 stays at -0.75.
    assert repeats_of(scores, 4, penalty=1.0, temperature=1e-3).tolist() == [4, 2, 1]


def test_extreme_scores_are_numbers_still():
    scores = np.array([1e30, -1e30, 0, 1], dtype=np.float32)
    cap = SoftCap(Weights(penalty=1000.0), 0.0, 1.0)
    times = cap.log_times(UIDS[:4], scores)
    assert np.isfinite(times).all() and (np.diff(times, axis=1) >= 0).all()


@given(st.lists(st.lists(st.floats(-1e3, 1e3, width=32), max_size=5), min_size=1, max_size=5))
def test_moments_of_parts_are_those_of_the_whole(parts):
    found = Moments(0, 0.0, 0.0)
    for part in parts:
        found = found.merged(Moments.of(np.array(part, dtype=np.float32)))
    whole = np.array([value for part in parts for value in part])
    assert found.count == len(whole)
    if len(whole):
        assert found.mean == pytest.approx(whole.mean(), abs=1e-6)
        assert found.deviation == pytest.approx(whole.std() or 1.0, rel=1e-6, abs=1e-3)


@pytest.mark.parametrize(("epoch", "expected"), [(1.0, 0), (2.5, 15), (100.0, 30)])
def test_an_epoch_has_no_more_draws_than_there_are(epoch, expected):
    assert SoftCap(Weights(epoch=epoch, most=4), 0.0, 1.0).further(10) == expected


@pytest.mark.parametrize("settings", [{"temperature": 1e-4}, {"temperature": 1e4}, {"penalty": 1e4}, {"penalty": 1e-9}])
def test_settings_by_which_draws_would_tie_are_refused(settings):
    with pytest.raises(ValidationError):
        Weights(**settings)
