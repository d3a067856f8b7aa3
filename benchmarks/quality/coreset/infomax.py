"""Greedy maximisation of InfoMax's quadratic form (data pruning by information maximization, arXiv 2506.01701)."""

import heapq

import numpy as np
import numpy.typing as npt

from benchmarks.quality.coreset.data import Int64Array
from filtering.core.csr import KnnGraph, cosines

Float64Array = npt.NDArray[np.float64]


def most_information(information: Float64Array, graph: KnnGraph, alpha: float, budget: int) -> Int64Array:
    """Return rows, int64 (budget,), in the order of picking.

    The objective of arXiv 2506.01701: the sum of X_z I(z) less alpha times the sum of X_z X_s K_zs over ordered pairs,
    under sum X = budget, K the cosines on the edges of a kNN graph (the paper's sparse similarities). The paper relaxes
    X and iterates; here the largest gain, I(z) - 2 alpha * the picked neighbours' K_zs, is picked again and again, ties
    to the lowest row.

    Parameters
    ----------
    information : I, float64 (n,), in 0..1; -inf: only when nothing else is left.
    graph : of unit-norm features.
    alpha : what similarity costs.
    """
    gains, costs = information.tolist(), (2 * alpha * cosines(graph.distances)).tolist()
    starts, others = graph.indptr.tolist(), graph.indices.tolist()
    heap = [(-gain, row) for row, gain in enumerate(gains)]
    heapq.heapify(heap)
    picked = [False] * len(gains)
    picks: list[int] = []
    while len(picks) < budget:
        gain, row = heapq.heappop(heap)
        if picked[row] or -gain != gains[row]:
            continue
        picked[row] = True
        picks.append(row)
        for edge in range(starts[row], starts[row + 1]):
            other = others[edge]
            gains[other] -= costs[edge]
            if not picked[other]:
                heapq.heappush(heap, (-gains[other], other))
    return np.array(picks, dtype=np.int64)
