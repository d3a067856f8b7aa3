"""NormSim: the similarity of an image to a set of target images."""

import numpy as np
import numpy.typing as npt

from filtering.core.portable_math import largest_products

Float32Array = npt.NDArray[np.float32]


def norm_sims(images: Float32Array, targets: Float32Array) -> Float32Array:
    """Return the largest absolute cosine of each image with the targets (NormSim_inf, arXiv 2405.19547), float32 (n,).

    Both are unit-norm rows, float32 (n, d) and (m, d); without targets every score is 0.
    """
    if not len(targets):
        return np.zeros(len(images), dtype=np.float32)
    return largest_products(images, targets, absolute=True).astype(np.float32)
