"""What a selection makes of the concepts: how many are in effect, and how hard each is with what is left of it."""

import numpy as np
import numpy.typing as npt

from filtering.core.csr import KnnGraph

Mask = npt.NDArray[np.bool_]


def effective_concepts(counts: npt.NDArray[np.int64]) -> float:
    """Return exp(entropy) of samples over concepts, counts int64 (C,): C where all have as many, 1 where one has."""
    shares = counts[counts > 0] / max(int(counts.sum()), 1)
    return round(float(np.exp(-(shares * np.log(shares)).sum())), 3) if len(shares) else 0.0


def support_distances(graph: KnnGraph, kept: Mask) -> npt.NDArray[np.float64]:
    """Return how far each dropped sample of a concept is from the nearest kept one among its neighbours, float64 (m,).

    The few-shot hardness of a concept, its Spread: dropped samples are the tests, kept ones the support set. Euclidean,
    of the dropped nodes in order, from a graph of the edges inside the concept; infinite where no neighbour is kept.
    """
    lengths = np.where(kept[graph.indices], graph.distances.astype(np.float64), np.inf)
    nearest = np.full(graph.nodes, np.inf)
    np.minimum.at(nearest, np.repeat(np.arange(graph.nodes), graph.degrees), lengths)
    apart: npt.NDArray[np.float64] = np.sqrt(nearest[~kept])
    return apart
