"""Facility location on a graph: picks that cover the most of what is probably right around them."""

import numpy as np

from filtering.core.csr import Int64Array, KnnGraph
from filtering.scores.centred import Float64Array
from filtering.selection.novelty import unit_of


def covering(graph: KnnGraph, p: Float64Array, q: Float64Array, budget: int) -> Int64Array:
    """Return the nodes that cover the most, in the order of greedy picks, int64 (budget,); ties go to the lowest.

    As in expected novelty, a pick s covers its neighbour i with probability p_s * exp(-d2_si / u), itself with p_s, and
    nu_i is the probability that none covers i. There a pick gains q_i * p_i * nu_i - (1 - p_i); here it gains q_i * p_i
    times the sum of p_j * nu_j * exp(-d2_ij / u) over j = i and its neighbours, less 1 - p_i.
    """
    around, left = _around(graph), p.astype(np.float64)
    gains = q * p * np.array([left[nodes] @ near for nodes, near in around]) - (1 - p)
    picks = np.empty(budget, dtype=np.int64)
    for at in range(budget):
        picks[at] = pick = int(np.argmax(gains))
        gains[pick] = -np.inf
        nodes, near = around[pick]
        lost = left[nodes] * p[pick] * near
        left[nodes] -= lost
        for node, amount in zip(nodes.tolist(), lost.tolist(), strict=True):
            others, closeness = around[node]
            gains[others] -= q[others] * p[others] * closeness * amount
    return picks


def _around(graph: KnnGraph) -> list[tuple[Int64Array, Float64Array]]:
    """Return each node and its neighbours, and exp(-d2 / u) of them: 1 of the node itself."""
    near = np.exp(-graph.distances.astype(np.float64) / unit_of(graph.distances))
    slices = [slice(*ends) for ends in zip(graph.indptr[:-1], graph.indptr[1:], strict=True)]
    return [(np.append(graph.indices[at], node), np.append(near[at], 1.0)) for node, at in enumerate(slices)]
