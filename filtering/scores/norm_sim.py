"""NormSim: the similarity of an image to a set of target images."""

import numpy as np
import numpy.typing as npt

Float32Array = npt.NDArray[np.float32]

# Images and targets whose cosines are in memory at once, 64 MB.
BLOCK_ROWS = 4_096


def norm_sims(images: Float32Array, targets: Float32Array) -> Float32Array:
    """Return the largest absolute cosine of each image with the targets (NormSim_inf, arXiv 2405.19547), float32 (n,).

    Both are unit-norm rows, float32 (n, d) and (m, d); without targets every score is 0.
    """
    scores = np.zeros(len(images), dtype=np.float32)
    for start in range(0, len(images), BLOCK_ROWS):
        block = slice(start, start + BLOCK_ROWS)
        for first in range(0, len(targets), BLOCK_ROWS):
            cosines = images[block] @ targets[first : first + BLOCK_ROWS].T
            np.maximum(scores[block], np.abs(cosines, out=cosines).max(axis=1), out=scores[block])
    return scores
