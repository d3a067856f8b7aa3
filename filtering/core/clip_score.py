"""CLIP score: the cosine of an image and its caption (DataComp, arXiv 2304.14108)."""

import numpy as np
import numpy.typing as npt


def clip_scores(images: npt.NDArray[np.float32], texts: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return the row-wise cosine of unit-norm embeddings.

    Parameters
    ----------
    images, texts : float32 (n, d)
        Unit-norm rows; row i of both belongs to sample i.

    Returns
    -------
    float32 (n,)
        Between -1 and 1, higher for a better fitting caption.
    """
    scores: npt.NDArray[np.float32] = np.einsum("nd,nd->n", images, texts)
    return scores
