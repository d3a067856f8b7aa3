import math

import pytest
import torch

from filtering.samplers.measures import class_measures, pair_measures


def softmax(row):
    total = sum(math.exp(value) for value in row)
    return [math.exp(value) / total for value in row]


def test_classes_measures_are_those_of_loops():
    logits, labels = torch.randn(6, 4, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2, 3, 0, 1])
    found = class_measures(logits, labels)
    for at, (row, label) in enumerate(zip(logits.tolist(), labels.tolist(), strict=True)):
        chances = softmax(row)
        assert float(found.losses[at]) == pytest.approx(-math.log(chances[label]), rel=1e-5)
        assert float(found.confidence[at]) == pytest.approx(max(chances), rel=1e-5)
        assert bool(found.right[at]) == (chances.index(max(chances)) == label)


@pytest.mark.parametrize("order", [[0, 1, 2, 3, 4], [2, 0, 1, 4, 3]])
def test_pairs_measures_are_those_of_loops(order):
    """Captions in any order, told by `labels`, measure as those on the diagonal do."""
    square = 3 * torch.randn(5, 5, generator=torch.Generator().manual_seed(1)) + 2 * torch.eye(5)
    shuffled = torch.empty_like(square)
    shuffled[:, order] = square
    found = pair_measures(shuffled, torch.tensor(order))
    for at in range(5):
        images, captions = softmax(square[at].tolist()), softmax(square[:, at].tolist())
        loss = -(math.log(images[at]) + math.log(captions[at])) / 2
        assert float(found.losses[at]) == pytest.approx(loss, rel=1e-5)
        assert float(found.confidence[at]) == pytest.approx(max(images), rel=1e-5)
        assert bool(found.right[at]) == (max(images) == images[at])
    assert torch.equal(pair_measures(square).right, found.right)


def test_gathered_captions_classify_the_images_of_one_rank():
    logits = torch.randn(2, 4, generator=torch.Generator().manual_seed(2))
    labels = torch.tensor([2, 3])
    assert torch.equal(pair_measures(logits, labels).losses, class_measures(logits, labels).losses)


def test_only_losses_have_a_gradient_and_half_precision_is_measured_in_single():
    logits = torch.randn(3, 3, dtype=torch.bfloat16).requires_grad_()
    found = pair_measures(logits)
    assert found.losses.requires_grad
    assert not found.confidence.requires_grad
    assert found.losses.dtype == found.confidence.dtype == torch.float32
