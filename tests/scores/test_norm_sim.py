import numpy as np
import pytest

from filtering.core import portable_math
from filtering.scores.norm_sim import norm_sims


def unit_rows(rows, dimension, seed):
    vectors = np.random.default_rng(seed).normal(size=(rows, dimension))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("block", [3, 4096])
@pytest.mark.parametrize(("rows", "targets"), [(0, 4), (1, 1), (10, 7), (7, 10)])
def test_scores_are_those_of_plain_loops(monkeypatch, block, rows, targets):
    monkeypatch.setattr(portable_math, "BLOCK_ROWS", block)
    images, wanted = unit_rows(rows, 5, 0), unit_rows(targets, 5, 1)
    expected = [max(abs(float(image @ target)) for target in wanted) for image in images]
    found = norm_sims(images, wanted)
    assert found.dtype == np.float32
    assert np.allclose(found, expected, atol=1e-6)


def test_no_targets_are_like_nothing():
    assert norm_sims(unit_rows(3, 5, 0), np.zeros((0, 5), np.float32)).tolist() == [0, 0, 0]
