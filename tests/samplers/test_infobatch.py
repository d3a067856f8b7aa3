import numpy as np
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from kept_runs import uids

from filtering.core.errors import InputError
from filtering.core.uids import hashed
from filtering.samplers.index import UidIndex
from filtering.samplers.infobatch import InfoBatch
from filtering.samplers.sampler import epoch_seed


def plain_weights(names, losses, epoch, epochs, ratio, seed):
    """InfoBatch with loops; `losses` has what was seen."""
    if epoch >= 0.875 * epochs or not losses:
        return [1.0] * len(names)
    mean = sum(losses.values()) / len(losses)
    weights = []
    for name in names:
        if name not in losses or losses[name] >= mean:
            weights.append(1.0)
        else:
            draw = int(hashed(np.array([name]), epoch_seed(seed, epoch))[0])
            weights.append(0.0 if draw < int(ratio * 2**64) else 1 / (1 - ratio))
    return weights


@examples(0.3)
@given(st.integers(0, 40), st.sampled_from([0.0, 0.5, 0.8]), st.integers(0, 2**32))
def test_weights_are_those_of_plain_loops(count, ratio, seed):
    random = np.random.default_rng(seed)
    index = UidIndex(uids(count))
    names = list(index.uids)
    sampler = InfoBatch(index, 6, ratio, seed=seed)
    last: dict[bytes, float] = {}
    for epoch in range(6):
        weights = sampler.weights(epoch)
        assert weights.tolist() == pytest.approx(plain_weights(names, last, epoch, 6, ratio, seed))
        seen = np.flatnonzero(weights)
        # Sums of eighths are exact, so that the mean is the same whichever way it is summed.
        losses = random.integers(0, 40, len(seen)) / 8
        sampler.observe(index.uids[seen], losses)
        last.update(zip(index.uids[seen], losses, strict=True))


def test_the_first_and_the_last_epochs_show_everything():
    sampler = InfoBatch(100, epochs=16)
    shown = []
    for epoch in range(16):
        shown.append(int(np.count_nonzero(sampler.weights(epoch))))
        sampler.observe(np.arange(100), np.arange(100))
    assert shown[0] == shown[14] == shown[15] == 100
    assert max(shown[1:14]) < 100


def test_what_is_above_the_mean_is_shown_and_half_of_the_rest_with_twice_the_weight():
    sampler = InfoBatch(10_000, epochs=10)
    sampler.observe(np.arange(10_000), np.arange(10_000))
    weights = sampler.weights(1)
    assert (weights[5000:] == 1).all()
    assert set(weights[:5000]) == {0, 2}
    # Five standard deviations of a binomial of 5,000.
    assert abs(np.count_nonzero(weights[:5000]) - 2500) < 180


def test_samples_never_seen_or_of_no_finite_loss_are_shown_and_do_not_move_the_mean():
    sampler = InfoBatch(6, epochs=100, ratio=0.999999)
    sampler.observe([0, 1, 2, 3], [0.0, 2.0, np.nan, np.inf])
    assert sampler.weights(1).tolist() == [0, 1, 1, 1, 1, 1]


@pytest.mark.parametrize("ratio", [0.3, 0.5, 0.8])
def test_the_weighted_gradient_is_unbiased(ratio):
    """Over many epochs the mean of the weighted gradient of a linear model is the gradient of all samples."""
    random = np.random.default_rng(3)
    inputs, targets = random.normal(size=(400, 5)), random.normal(size=400)
    errors = inputs @ random.normal(size=5) - targets
    gradients, losses = errors[:, None] * inputs, errors**2 / 2
    sampler = InfoBatch(400, epochs=10_000, ratio=ratio, seed=1)
    sampler.observe(np.arange(400), losses)
    draws = np.array([sampler.weights(epoch) @ gradients for epoch in range(1, 2001)])
    deviations = (draws.mean(axis=0) - gradients.sum(axis=0)) / (draws.std(axis=0) / 2000**0.5)
    assert np.abs(deviations).max() < 4
    unweighted = np.array([(sampler.weights(epoch) > 0) @ gradients for epoch in range(2001, 4001)])
    biased = (unweighted.mean(axis=0) - gradients.sum(axis=0)) / (unweighted.std(axis=0) / 2000**0.5)
    assert np.abs(biased).max() > 20


def test_draws_of_samples_and_of_epochs_are_independent():
    sampler = InfoBatch(2000, epochs=1000)
    sampler.observe(np.arange(2000), np.where(np.arange(2000) < 1000, 0, 1))
    shown = np.array([sampler.weights(epoch)[:1000] > 0 for epoch in range(1, 201)], dtype=float)
    signs = 2 * shown - 1
    assert np.abs((signs[1:] * signs[:-1]).mean()) < 5 / (199 * 1000) ** 0.5
    assert np.abs((signs[:, 1:] * signs[:, :-1]).mean()) < 5 / (200 * 999) ** 0.5


@pytest.mark.parametrize("changes", [{"epochs": 0}, {"ratio": 1.0}, {"ratio": -0.1}, {"delta": 1.1}])
def test_settings_outside_their_range_are_refused(changes):
    with pytest.raises(InputError):
        InfoBatch(4, **({"epochs": 5} | changes))
