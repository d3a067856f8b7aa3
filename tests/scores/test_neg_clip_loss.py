import math

import numpy as np
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st

from filtering.scores import neg_clip_loss
from filtering.scores.neg_clip_loss import batch_numbers, neg_clip_losses


def unit_rows(random, rows, dimension):
    vectors = random.normal(size=(rows, dimension))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def by_loops(images, texts, temperature):
    cosines = images.astype(np.float64) @ texts.astype(np.float64).T
    losses = []
    for i in range(len(images)):
        forward = math.log(sum(math.exp(cosines[i, j] / temperature) for j in range(len(images))))
        backward = math.log(sum(math.exp(cosines[j, i] / temperature) for j in range(len(images))))
        losses.append(cosines[i, i] - temperature / 2 * forward - temperature / 2 * backward)
    return losses


@examples(0.3)
@given(st.integers(0, 40), st.sampled_from([0.005, 0.01, 0.07, 1.0]), st.integers(1, 50), st.integers(0, 2**32 - 1))
def test_losses_are_those_of_plain_loops_whatever_the_block(rows, temperature, block, seed):
    random = np.random.default_rng(seed)
    images, texts = unit_rows(random, rows, 6), unit_rows(random, rows, 6)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(neg_clip_loss, "BLOCK_ROWS", block)
        found = neg_clip_losses(images, texts, temperature)
    assert found.dtype == np.float32
    # Vectors are rounded to steps of 2^-15.
    assert np.allclose(found, by_loops(images, texts, temperature), atol=1e-4)


def test_a_pair_alone_loses_its_whole_score():
    one = unit_rows(np.random.default_rng(0), 1, 4)
    assert neg_clip_losses(one, -one, 0.01) == pytest.approx([0.0], abs=1e-6)


def test_exponentials_of_low_temperatures_do_not_overflow():
    same = np.repeat(unit_rows(np.random.default_rng(0), 1, 4), 8, axis=0)
    found = neg_clip_losses(same, same, 1e-4)
    assert found == pytest.approx([-1e-4 * math.log(8)] * 8, abs=1e-6)


def test_a_caption_that_fits_every_image_is_worth_less():
    images = np.eye(4, 5, dtype=np.float32)
    texts = np.eye(4, 5, dtype=np.float32)
    texts[0, :4] = 0.5
    images[0] = [math.sqrt(0.75), 0, 0, 0, 0.5]
    texts[1], images[1] = [0, 0, 0, 0, 1], [0, 0.5, 0, 0, math.sqrt(0.75)]
    found = neg_clip_losses(images, texts, 0.01)
    assert found[2] > found[0]


def uids(count):
    return np.array([f"{number:032x}".encode() for number in range(count)], dtype="S32")


def test_batches_are_decided_by_uid_and_seed_and_even():
    every = uids(8_000)
    found = batch_numbers(every, 8, 3)
    assert found.dtype == np.int32
    assert np.array_equal(batch_numbers(every[::-1], 8, 3), found[::-1])
    assert np.abs(np.bincount(found, minlength=8) - 1_000).max() < 150
    again = batch_numbers(every, 8, 4)
    # Independent of the cut before: an eighth meets by chance.
    assert abs(float((found == again).mean()) - 1 / 8) < 0.02
    assert batch_numbers(every, 1, 0).max() == 0
    assert len(batch_numbers(every[:0], 5, 0)) == 0
