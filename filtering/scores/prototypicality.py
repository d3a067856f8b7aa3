"""Prototypicality: how far an image lies from the centre of its concept."""

from typing import Any

import numpy as np
import numpy.typing as npt

Float32Array = npt.NDArray[np.float32]

# Images whose centroids are gathered at once.
BLOCK_ROWS = 16_384


def prototypicalities(
    images: Float32Array, homes: npt.NDArray[np.integer[Any]], centroids: Float32Array
) -> Float32Array:
    """Return the cosine distance of each image to its own concept's centroid, float32 (n,) (arXiv 2206.14486).

    `images`, float32 (n, d), and `centroids`, float32 (K, d), are unit-norm rows; `homes`, integers (n,), is each
    image's own centroid. Higher is less typical and harder: the paper keeps those where data are plenty.
    """
    scores = np.empty(len(images), dtype=np.float32)
    for start in range(0, len(images), BLOCK_ROWS):
        block = slice(start, start + BLOCK_ROWS)
        scores[block] = 1 - np.einsum("nd,nd->n", images[block], centroids[homes[block]])
    return scores
