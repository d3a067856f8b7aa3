"""ZCore's scores (zero-shot coreset selection, arXiv 2411.15349): coverage and redundancy in random subspaces.

The paper embeds pictures with foundation models that have seen neither the data nor its labels. There is none here: the
scoring network's features stand in, so this is not zero-shot.
"""

from itertools import combinations

import numpy as np
import numpy.typing as npt

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]

# The paper draws a million times; 5 a sample are what a core does in minutes.
DRAWS = 300_000
# Neighbours that a covered sample makes redundant, and how steeply with the distance: the paper's.
NEIGHBOURS, STEEPNESS = 1_000, 4


def zcore_scores(features: Float32Array, draws: int, neighbours: int, seed: int) -> Float64Array:
    """Return ZCore's scores, float64 (n,), higher for what covers the space and is not redundant.

    From uniform numbers on (the paper's random start), for each draw: two random dimensions, a point of their
    triangular distributions (least, median, largest value); the nearest sample by L1 distance gains 1 (coverage), and
    that sample's neighbours lose shares of 1 in proportion to distance^-4 (redundancy); a copy of it loses 1 alone.

    Parameters
    ----------
    features : float32 (n, d).
    draws, neighbours : how many draws, and how many neighbours lose by each.
    seed : of the start and the draws.
    """
    random = np.random.default_rng(seed)
    scores = random.uniform(size=len(features))
    varied = features[:, features.min(axis=0) < features.max(axis=0)]
    least, middle, most = varied.min(axis=0), np.median(varied, axis=0), varied.max(axis=0)
    pairs = np.array(list(combinations(range(varied.shape[1]), 2)))
    counts = random.multinomial(draws, np.full(len(pairs), 1 / len(pairs)))
    for number in np.flatnonzero(counts):
        pair = pairs[number]
        points = random.triangular(least[pair], middle[pair], most[pair], size=(counts[number], 2)).astype(np.float32)
        scores += gains(np.ascontiguousarray(varied[:, pair]), points, neighbours)
    return scores


def gains(plane: Float32Array, points: Float32Array, neighbours: int) -> Float64Array:
    """Return what the samples, float32 (n, 2), gain and lose by the drawn points, float32 (count, 2): float64 (n,)."""
    nearest = np.argmin(_city_blocks(points, plane), axis=1)
    distances = _city_blocks(plane[nearest], plane)
    # A sample is no neighbour of its own.
    distances[np.arange(len(nearest)), nearest] = np.inf
    asked = min(neighbours, len(plane) - 1)
    rows = np.argpartition(distances, asked - 1, axis=1)[:, :asked]
    shares = _shares(np.take_along_axis(distances, rows, axis=1).astype(np.float64))
    lost = np.bincount(rows.ravel(), shares.ravel(), len(plane)).astype(np.float64)
    return np.bincount(nearest, minlength=len(plane)) - lost


def _city_blocks(ones: Float32Array, others: Float32Array) -> Float32Array:
    """Return the L1 distances in the plane, float32 (ones, others)."""
    across: Float32Array = np.abs(ones[:, :1] - others[:, 0])
    across += np.abs(ones[:, 1:] - others[:, 1])
    return across


def _shares(distances: Float64Array) -> Float64Array:
    """Return what each neighbour loses, float64 (count, k), 1 in all; the first copy loses everything."""
    powers = np.maximum(distances, np.finfo(np.float32).tiny) ** -float(STEEPNESS)
    copied = np.flatnonzero((distances == 0).any(axis=1))
    powers[copied] = 0
    powers[copied, np.argmin(distances[copied], axis=1)] = 1
    shares: Float64Array = powers / powers.sum(axis=1, keepdims=True)
    return shares
