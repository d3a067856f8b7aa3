import numpy as np
import pytest

from filtering.scores import distances
from filtering.scores.distances import prototypicalities


@pytest.mark.parametrize("block", [4, 16_384])
@pytest.mark.parametrize("rows", [0, 1, 9])
def test_scores_are_those_of_plain_loops(monkeypatch, block, rows):
    monkeypatch.setattr(distances, "BLOCK_ROWS", block)
    random = np.random.default_rng(0)
    images, centroids = (random.normal(size=(count, 6)).astype(np.float32) for count in (rows, 3))
    for vectors in (images, centroids):
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    homes = random.integers(0, 3, rows).astype(np.int32)
    expected = [1 - float(images[row] @ centroids[homes[row]]) for row in range(rows)]
    found = prototypicalities(images, homes, centroids)
    assert found.dtype == np.float32
    assert np.allclose(found, expected, atol=1e-6)


def test_farther_from_the_own_centroid_is_higher():
    centroids = np.eye(2, dtype=np.float32)
    images = np.array([[1, 0], [0.6, 0.8], [0, 1]], dtype=np.float32)
    found = prototypicalities(images, np.array([0, 0, 0]), centroids)
    assert np.allclose(found, [0, 0.4, 1])
