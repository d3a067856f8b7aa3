"""The positions of the concepts on the map: similar centroids are close to each other."""

from typing import Any

import numpy as np
import numpy.typing as npt


def concept_map(centroids: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Return a position for each centroid (C, d), float64 (C, 2) between 0 and 1: the first two principal components.

    Principal components crowd most concepts into the middle; the mean of the component and its rank spreads them and
    preserves neighbourhoods.
    """
    centred = centroids.astype(np.float64) - centroids.mean(axis=0, dtype=np.float64)
    _, vectors = np.linalg.eigh(centred.T @ centred)
    flat = centred @ _directed(vectors[:, :-3:-1])
    if flat.shape[1] < 2:
        flat = np.column_stack([flat, np.zeros((len(flat), 2 - flat.shape[1]))])
    return (_scaled(flat) + _scaled(np.argsort(np.argsort(flat, axis=0, kind="stable"), axis=0))) / 2


def _directed(vectors: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Give each vector the sign that makes its largest entry positive; otherwise the sign depends on the machine."""
    largest = np.abs(vectors).argmax(axis=0)
    signs: npt.NDArray[np.float64] = np.sign(vectors[largest, np.arange(vectors.shape[1])])
    return vectors * np.where(signs == 0, 1.0, signs)


def _scaled(columns: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    low, high = columns.min(axis=0), columns.max(axis=0)
    return np.asarray((columns - low) / np.where(high > low, high - low, 1), dtype=np.float64)
