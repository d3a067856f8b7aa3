import numpy as np
import pytest
import torch
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from kept_runs import uid, uids

from filtering.core.errors import InputError
from filtering.core.uids import hashed
from filtering.samplers.index import UidIndex
from filtering.samplers.kakurenbo import Kakurenbo
from filtering.samplers.sampler import epoch_seed

NEVER = (float("inf"), False)


class Plain:
    """KAKURENBO with loops: a dict of what was last seen of each sample."""

    def __init__(self, names, fraction, confidence, seed):
        self.names, self.fraction, self.confidence, self.seed = names, fraction, confidence, seed
        self.last = dict.fromkeys(names, NEVER)
        self.stale = set()

    def hidden(self, epoch, factor):
        ties = {name: int(hashed(np.array([name]), epoch_seed(self.seed, epoch))[0]) for name in self.names}
        order = sorted(self.names, key=lambda name: (self.last[name][0], ties[name]))
        hidden = set()
        for name in order[: int(self.fraction * factor * len(self.names))]:
            if self.last[name][1] and name not in self.stale:
                hidden.add(name)
        self.stale = set(hidden)
        return hidden

    def observe(self, name, loss, right, confidence):
        self.last[name] = (loss, bool(right and confidence >= self.confidence)) if np.isfinite(loss) else NEVER
        self.stale.discard(name)


def learned(count: int, **settings) -> Kakurenbo:
    """A sampler whose samples were all seen, right and sure, the loss of each its position."""
    sampler = Kakurenbo(count, **settings)
    sampler.weights(0)
    sampler.observe(np.arange(count), np.arange(count), np.ones(count), np.ones(count))
    return sampler


@examples(0.3)
@given(st.integers(0, 40), st.sampled_from([0.0, 0.3, 0.95]), st.integers(0, 2**32), st.booleans())
def test_the_same_samples_are_hidden_as_by_plain_loops(count, fraction, seed, rescored):
    random = np.random.default_rng(seed)
    index = UidIndex(uids(count))
    names = list(index.uids)
    milestones, decay = (0, 2, 3), (1, 0.8, 0.4)
    plain = Plain(names, fraction, 0.7, seed)
    sampler = Kakurenbo(index, fraction, 0.7, milestones, decay, seed)
    for epoch, factor in enumerate([1, 1, 0.8, 0.4]):
        mask = sampler.hidden_mask(epoch)
        assert {names[at] for at in np.flatnonzero(mask)} == plain.hidden(epoch, factor)
        seen = np.flatnonzero(~mask)
        seen = seen[random.random(len(seen)) < 0.9]
        again = sampler.unscored(epoch)
        assert np.array_equal(again, np.flatnonzero(mask))
        if rescored:
            seen = np.concatenate([seen, again[random.random(len(again)) < 0.8]])
        losses = np.float32(random.choice([0, 0, 0.5, 1.5, np.nan, np.inf], len(seen)))
        right, confidence = random.random(len(seen)) < 0.8, random.choice([0.2, 0.7, 0.9], len(seen))
        for batch in np.array_split(np.arange(len(seen)), 3):
            sampler.observe(index.uids[seen[batch]], losses[batch], right[batch], confidence[batch])
        for at, *rest in zip(seen, losses, right, confidence, strict=True):
            plain.observe(names[at], *rest)


def test_the_first_epoch_hides_nothing():
    sampler = Kakurenbo(10)
    assert not sampler.hidden_mask(0).any()
    assert sampler.learning_rate_factor(0) == 1


def test_the_lowest_losses_are_hidden_and_the_rate_makes_up_for_them():
    sampler = learned(10)
    assert np.flatnonzero(sampler.hidden_mask(1)).tolist() == [0, 1, 2]
    assert sampler.learning_rate_factor(1) == pytest.approx(1 / 0.7)
    # An optimizer keeps it in its state, which torch.load must be able to read.
    assert type(sampler.learning_rate_factor(1)) is float


@pytest.mark.parametrize(("right", "confidence"), [(False, 0.99), (True, 0.69)])
def test_a_candidate_that_is_wrong_or_unsure_is_moved_back_and_no_other_takes_its_place(right, confidence):
    sampler = learned(10)
    sampler.observe([1], [0.0], [right], [confidence])
    assert np.flatnonzero(sampler.hidden_mask(1)).tolist() == [0, 2]
    assert sampler.learning_rate_factor(1) == pytest.approx(10 / 8)


def test_the_fraction_decays_at_the_milestones():
    sampler = Kakurenbo(1000, milestones=(2, 4), decay=(0.8, 0.5))
    fractions = [sampler.maximum_fraction(epoch) for epoch in range(6)]
    assert fractions == pytest.approx([0.3, 0.3, 0.24, 0.24, 0.15, 0.15])
    paper = Kakurenbo(10)
    assert [paper.maximum_fraction(epoch) for epoch in (0, 29, 30, 60, 80, 99)] == pytest.approx(
        [0.3, 0.3, 0.24, 0.18, 0.12, 0.12]
    )


def test_hidden_samples_that_are_not_scored_again_are_shown_in_the_next_epoch():
    sampler = learned(10)
    sampler.weights(1)
    assert sampler.unscored(1).tolist() == [0, 1, 2]
    sampler.observe([1], [1.0], [True], [1.0])
    assert sampler.unscored(1).tolist() == [0, 2]
    assert np.flatnonzero(sampler.hidden_mask(2)).tolist() == [1]


def test_equal_losses_are_hidden_in_another_order_in_each_epoch_and_for_each_seed():
    def hidden(seed: int, epoch: int) -> list[int]:
        sampler = Kakurenbo(100, seed=seed)
        sampler.observe(np.arange(100), np.zeros(100), np.ones(100), np.ones(100))
        return np.flatnonzero(sampler.hidden_mask(epoch)).tolist()

    assert hidden(0, 1) == hidden(0, 1)
    assert len(hidden(0, 1)) == len(hidden(0, 2)) == 30
    assert len({str(hidden(seed, epoch)) for seed in (0, 1, -5, 2**70) for epoch in (1, 2)}) == 8


def test_an_epoch_stays_decided_while_losses_come_in_and_the_past_is_refused():
    sampler = learned(10)
    before = sampler.weights(1)
    sampler.observe(np.arange(10), np.arange(10)[::-1], np.ones(10), np.ones(10))
    assert np.array_equal(sampler.weights(1), before)
    with pytest.raises(ValueError, match="read-only"):
        before[0] = 1
    with pytest.raises(InputError, match="epoch 0 cannot be decided again, epoch 1 has begun"):
        sampler.weights(0)
    with pytest.raises(InputError, match="no epoch -1"):
        sampler.weights(-1)


def test_tensors_with_gradient_in_half_precision_are_taken():
    sampler = Kakurenbo(4, fraction=0.5)
    losses = torch.tensor([3, 1, 2, 0], dtype=torch.bfloat16, requires_grad=True)
    sampler.observe(torch.arange(4), losses, torch.tensor([True] * 4), torch.ones(4, dtype=torch.float16))
    assert np.flatnonzero(sampler.hidden_mask(1)).tolist() == [1, 3]


def test_a_batch_that_does_not_fit_is_refused_and_changes_nothing():
    sampler = Kakurenbo(4)
    for arguments in [
        ([0, 1], [1.0], [True, True], [1, 1]),
        ([0, 1], [1.0, 1.0], [True], [1, 1]),
        ([0, 1], [1.0, 1.0], [True, True], [1]),
        ([0, 4], [1.0, 1.0], [True, True], [1, 1]),
        ([uid(0)], [1.0], [True], [1]),
    ]:
        with pytest.raises(InputError):
            sampler.observe(*arguments)
    assert np.isnan(sampler.losses).all()


@pytest.mark.parametrize(
    "changes",
    [
        {"fraction": 1.0},
        {"fraction": -0.1},
        {"confidence": 1.1},
        {"milestones": (0, 1)},
        {"milestones": (0, 3, 2, 4)},
        {"decay": (1, 2, 1, 1)},
    ],
)
def test_settings_outside_their_range_are_refused(changes):
    with pytest.raises(InputError):
        Kakurenbo(4, **changes)


def test_an_empty_pool_has_nothing_to_hide():
    sampler = Kakurenbo(0)
    assert (len(sampler.weights(3)), sampler.learning_rate_factor(3)) == (0, 1)
