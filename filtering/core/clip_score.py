"""CLIP score: the cosine of an image and its caption (DataComp, arXiv 2304.14108)."""

import numpy as np
import numpy.typing as npt

from filtering.core.portable_math import row_products


def clip_scores(images: npt.NDArray[np.float32], texts: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return the row-wise cosines, float32 (n,) in [-1, 1], of unit vectors of images and captions (n, d)."""
    return row_products(images, texts).astype(np.float32)
