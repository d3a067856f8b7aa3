"""Moderate coreset (Xia et al., ICLR 2023): neither the typical samples nor the outliers, but the middle."""

import numpy as np
import numpy.typing as npt

from filtering.config.methods import NoSettings
from filtering.core.csr import Int64Array
from filtering.core.errors import InputError
from filtering.selection.concept import ConceptSamples
from filtering.selection.kernel import Float64Array

BLOCK = 2_048
COLUMNS = 16


def moderate_coreset(concept: ConceptSamples, budget: int, settings: NoSettings) -> Int64Array:
    """Return the samples in the middle of the order of distances to the concept's median vector, from it outwards."""
    if concept.vectors is None:
        raise InputError("moderate measures embeddings, but the concept came without vectors")
    return middle(distances_to_median(concept.vectors), budget)


def distances_to_median(vectors: npt.NDArray[np.float32]) -> Float64Array:
    """Return the Euclidean distance of each row of finite vectors (n, d) to the column-wise median, float64 (n,).

    The released code's class feature: a median for each dimension, not normalised again. Columns and rows are taken a
    few at a time, never a float64 copy of all.
    """
    if len(vectors) == 0:
        return np.zeros(0)
    columns = range(0, vectors.shape[1], COLUMNS)
    medians = [np.median(vectors[:, at : at + COLUMNS].astype(np.float64), axis=0) for at in columns]
    median = np.concatenate([np.zeros(0), *medians])
    rows = range(0, len(vectors), BLOCK)
    # Distances that are not finite stay so, and `middle` refuses them.
    with np.errstate(invalid="ignore"):
        return np.concatenate([np.sqrt(((vectors[at : at + BLOCK] - median) ** 2).sum(axis=1)) for at in rows])


def middle(distances: npt.ArrayLike, budget: int) -> Int64Array:
    """Return the middle of the order of n distances, int64 (min(budget, n),), from the median outwards.

    The picks are the places [(n - budget) // 2, (n - budget) // 2 + budget) of the ascending order (ties: lowest
    position); of two places that are as far from the middle the nearer sample comes first. A smaller budget is a
    prefix. InputError if distances are not finite or the budget is negative.
    """
    lengths = np.asarray(distances, dtype=np.float64)
    if lengths.ndim != 1 or not np.isfinite(lengths).all():
        raise InputError("the middle needs a list of finite distances, one for each sample")
    if budget < 0:
        raise InputError(f"budget must not be negative, got {budget}")
    from_middle = np.abs(2 * np.arange(len(lengths)) - (len(lengths) - 1))
    outwards = np.argsort(from_middle, kind="stable")[:budget]
    return np.argsort(lengths, kind="stable")[outwards]
