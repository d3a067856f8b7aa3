import io

import numpy as np
import pytest
import torch
from kept_runs import uids

from filtering.core.errors import InputError
from filtering.samplers.index import UidIndex
from filtering.samplers.infobatch import InfoBatch
from filtering.samplers.kakurenbo import Kakurenbo

MAKERS = {
    "kakurenbo": lambda pool: Kakurenbo(pool, fraction=0.5, seed=4),
    "infobatch": lambda pool: InfoBatch(pool, epochs=9, seed=4),
}


def step(sampler, positions, random):
    count = len(positions)
    extra = (random.random(count) < 0.9, random.random(count)) if isinstance(sampler, Kakurenbo) else ()
    sampler.observe(positions, random.random(count), *extra)


def go_on(sampler, random, epochs):
    weights = []
    for epoch in epochs:
        weights.append(sampler.weights(epoch).copy())
        for batch in np.array_split(np.flatnonzero(weights[-1]), 4):
            step(sampler, batch, random)
        if isinstance(sampler, Kakurenbo):
            step(sampler, sampler.unscored(epoch)[::2], random)
    return weights


def by_torch(state):
    file = io.BytesIO()
    torch.save(state, file)
    return torch.load(io.BytesIO(file.getvalue()))


def by_npz(state):
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **state)
    with np.load(io.BytesIO(file.getvalue()), allow_pickle=False) as arrays:
        return dict(arrays)


@pytest.mark.parametrize("saved", [by_torch, by_npz, dict])
@pytest.mark.parametrize("method", MAKERS)
def test_a_state_saved_within_an_epoch_goes_on_as_the_sampler_did(method, saved):
    index = UidIndex(uids(60))
    sampler = MAKERS[method](index)
    go_on(sampler, np.random.default_rng(0), range(3))
    shown = np.flatnonzero(sampler.weights(3))
    assert 0 < len(shown) < 60
    step(sampler, shown[:7], np.random.default_rng(1))
    state = saved(sampler.state_dict())
    restored = MAKERS[method](index)
    restored.load_state_dict(state)
    ends = []
    for one in (sampler, restored):
        assert np.array_equal(np.flatnonzero(one.weights(3)), shown)
        step(one, shown[7:], np.random.default_rng(2))
        ends.append(go_on(one, np.random.default_rng(3), range(4, 7)))
    assert all(np.array_equal(*pair) for pair in zip(*ends, strict=True))
    assert np.array_equal(sampler.losses, restored.losses, equal_nan=True)


@pytest.mark.parametrize("method", MAKERS)
def test_a_state_does_not_change_with_its_sampler_nor_the_sampler_with_it(method):
    sampler = MAKERS[method](20)
    step(sampler, np.arange(20), np.random.default_rng(0))
    state = sampler.state_dict()
    step(sampler, np.arange(20), np.random.default_rng(1))
    assert not np.array_equal(state["losses"].numpy(), sampler.losses)
    sampler.load_state_dict(state)
    state["losses"].zero_()
    assert sampler.losses.any()


@pytest.mark.parametrize("method", MAKERS)
def test_a_state_of_another_pool_is_refused_and_changes_nothing(method):
    sampler = MAKERS[method](UidIndex(uids(10)))
    for other in (UidIndex(uids(11)), UidIndex(uids(11)[1:])):
        state = MAKERS[method](other).state_dict()
        with pytest.raises(InputError, match="the state is of another pool") as refused:
            sampler.load_state_dict(state)
        assert "\n" not in str(refused.value)
    assert np.isnan(sampler.losses).all()


def test_a_state_of_another_method_or_a_part_of_one_is_refused():
    kakurenbo, infobatch = Kakurenbo(5), InfoBatch(5, epochs=3)
    with pytest.raises(InputError, match="the state is one of infobatch, not of kakurenbo"):
        kakurenbo.load_state_dict(infobatch.state_dict())
    with pytest.raises(InputError, match="the state is one of kakurenbo, not of infobatch"):
        infobatch.load_state_dict(kakurenbo.state_dict())
    state = kakurenbo.state_dict()
    del state["sure"], state["epoch"]
    with pytest.raises(InputError, match="lacks epoch, sure"):
        kakurenbo.load_state_dict(state)


def test_an_arrays_length_is_checked_too():
    state = Kakurenbo(5).state_dict()
    state["sure"] = state["sure"][:1]
    with pytest.raises(InputError, match="another pool"):
        Kakurenbo(5).load_state_dict(state)


@pytest.mark.parametrize("name", ["pool", "epoch", "losses"])
@pytest.mark.parametrize("value", [None, "x", [], 1e30, -2])
def test_what_is_of_another_type_is_refused_and_changes_nothing(name, value):
    sampler = Kakurenbo(5)
    sampler.weights(2)
    with pytest.raises(InputError, match="the state is") as refused:
        sampler.load_state_dict(sampler.state_dict() | {name: value})
    assert "\n" not in str(refused.value)
    assert sampler.epoch == 2
