from itertools import pairwise

import numpy as np
import open_clip
import pytest
import torch
import torch.nn.utils.prune as pruning
from hypothesis import given
from hypothesis import strategies as st

from filtering.core.errors import InputError
from filtering.scores.dlc import capacities
from filtering.scores.masked_tower import MaskedTower, maskable, masked_from


class Network(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.place = torch.nn.Parameter(torch.randn(5))
        self.convolution = torch.nn.Conv2d(1, 3, 2)
        self.norm = torch.nn.LayerNorm(12)
        self.attention = torch.nn.MultiheadAttention(12, 2)
        self.linear = torch.nn.Linear(12, 4)
        self.head = torch.nn.Linear(4, 2)

    def forward(self, pixels):
        hidden = self.norm(self.convolution(pixels).flatten(1))
        return self.head(self.linear(self.attention(hidden, hidden, hidden)[0]))


def named(network):
    names = {id(weight): name for name, weight in network.named_parameters()}
    return [names[id(weight)] for weight in maskable(network)]


def test_weights_of_layers_are_masked_and_nothing_else():
    assert named(Network()) == [
        "convolution.weight",
        "attention.in_proj_weight",
        "attention.out_proj.weight",
        "linear.weight",
    ]


def test_the_projections_of_open_clip_stay():
    transformer = {"image_size": 32, "patch_size": 16, "width": 64, "layers": 1}
    resnet = {"image_size": 32, "width": 16, "layers": [1, 1, 1, 1], "head_width": 64}
    text = {"context_length": 8, "vocab_size": 50, "width": 64, "heads": 4, "layers": 1}
    of = {
        kind: named(open_clip.CLIP(16, vision, text).visual)
        for kind, vision in (("transformer", transformer), ("resnet", resnet))
    }
    layer = "transformer.resblocks.0"
    assert of["transformer"] == [
        "conv1.weight",
        *(f"{layer}.{name}" for name in ("attn.in_proj_weight", "attn.out_proj.weight")),
        *(f"{layer}.mlp.{name}.weight" for name in ("c_fc", "c_proj")),
    ]
    assert "layer1.0.downsample.0.weight" in of["resnet"]
    assert "attnpool.v_proj.weight" in of["resnet"]
    assert "attnpool.c_proj.weight" not in of["resnet"]
    assert not any("bn" in name for name in of["resnet"])


def zeros_by_sorting(network, share):
    """Which weights are 0 when the smallest of all are, as plain code has it."""
    every = np.concatenate([weight.detach().numpy().ravel() for weight in maskable(network)])
    masked = np.argsort(np.abs(every), kind="stable")[: len(every) - round(share * len(every))]
    zeros = np.zeros(len(every), dtype=bool)
    zeros[masked] = True
    return zeros


def masked_now(network):
    return np.concatenate([(weight == 0).numpy().ravel() for weight in maskable(network)])


@pytest.mark.parametrize("schedule", ["geometric", "linear"])
def test_the_smallest_weights_of_all_go_first(schedule):
    network, shares = Network(), capacities(10, schedule)
    expected = [zeros_by_sorting(network, share) for share in shares]
    with MaskedTower(network, shares).masking() as evaluations:
        for evaluation in evaluations:
            assert np.array_equal(masked_now(network), expected[evaluation])


def test_outputs_are_those_of_torch_own_pruning():
    pixels, network, plain = torch.randn(3, 1, 3, 3), Network(), Network()
    with MaskedTower(network, capacities(3, "linear")).masking() as evaluations, torch.inference_mode():
        found = [network(pixels) for _ in evaluations][2]
    layers = [(plain.convolution, "weight"), (plain.attention, "in_proj_weight")]
    layers += [(plain.attention.out_proj, "weight"), (plain.linear, "weight")]
    count = sum(weight.numel() for weight in maskable(plain))
    pruning.global_unstructured(layers, pruning.L1Unstructured, amount=count - round(count / 3))
    with torch.inference_mode():
        assert torch.allclose(found, plain(pixels), atol=1e-6)


def test_weights_are_put_back():
    network = Network()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    tower = MaskedTower(network, capacities(4, "linear"))
    for _ in range(2):
        with tower.masking() as evaluations:
            assert list(evaluations) == [0, 1, 2, 3]
            assert not torch.equal(network.linear.weight, before["linear.weight"])
        assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    with pytest.raises(ZeroDivisionError), tower.masking() as evaluations:
        for evaluation in evaluations:
            1 / (2 - evaluation)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_random_masks_are_decided_by_the_seed():
    network, shares = Network(), capacities(5, "random")

    def masks(seed):
        with MaskedTower(network, shares, seed).masking() as evaluations:
            return [masked_now(network) for _ in evaluations]

    first = masks(1)
    assert [mask.sum() for mask in first] == [len(first[0]) - round(share * len(first[0])) for share in shares]
    assert all((small <= large).all() for small, large in pairwise(first))
    assert np.array_equal(first, masks(1))
    assert not np.array_equal(first[4], masks(2)[4])
    assert not np.array_equal(first[4], zeros_by_sorting(network, shares[4]))


@given(st.lists(st.integers(0, 4), max_size=30), st.lists(st.integers(0, 30), max_size=6))
def test_levels_count_exactly_whatever_is_equal(importance, masked):
    values = np.array(importance, dtype=np.float32)
    counts = np.sort(np.minimum(np.array(masked, dtype=np.int64), len(values)))
    order = np.argsort(values, kind="stable").tolist()
    expected = [
        next((k for k, count in enumerate(counts) if order.index(at) < count), len(counts)) for at in range(len(values))
    ]
    assert masked_from(values, counts).tolist() == expected


def test_too_many_masks_are_refused():
    with pytest.raises(InputError, match=r"dlc\.masks: 32768"):
        masked_from(np.zeros(1, np.float32), np.zeros(32_768, np.int64))


def test_a_tower_without_layers_stays_as_it_is():
    with MaskedTower(torch.nn.LayerNorm(3), capacities(2, "linear")).masking() as evaluations:
        assert list(evaluations) == [0, 1]
