"""The input of a selector: the samples of one concept cluster."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from filtering.core.csr import Int64Array, KnnGraph, row_pointers
from filtering.graph.sharded import ShardGraph


@dataclass(frozen=True, slots=True)
class ConceptSamples:
    """The n samples of one concept, in the order of their uids."""

    uids: npt.NDArray[np.bytes_]  # S32 (n,)
    scores: npt.NDArray[np.float64]  # (n,), higher means more worth keeping
    graph: KnnGraph  # the edges inside the concept
    # Of each of the m edges that leave the concept: its sample in 0..n-1, its squared Euclidean distance, and the score
    # of the sample at the other end
    border_rows: Int64Array
    border_distances: npt.NDArray[np.float32]
    border_scores: npt.NDArray[np.float64]
    vectors: npt.NDArray[np.float32] | None = None  # (n, d), unit-norm image embeddings, for methods that ask for them
    weights: npt.NDArray[np.float64] | None = None  # (n,), of novelty, from 0 to 1; none where nothing weighs it


def concept_samples(
    part: ShardGraph, members: slice, score_of: npt.NDArray[np.float64], places: Int64Array
) -> ConceptSamples:
    """Cut the concept whose rows are `members` out of a partition's part of the graph, n rows.

    `score_of`, float64 (u,), has the scores of its rows, and then those of all others that its edges lead to; `places`,
    int64 (nnz,), are the places in it of the edges' targets.
    """
    first, last = int(part.indptr[members.start]), int(part.indptr[members.stop])
    degrees = np.diff(part.indptr[members.start : members.stop + 1])
    rows = np.repeat(np.arange(len(degrees)), degrees)
    targets, distances = places[first:last] - members.start, part.distances[first:last]
    inside = (targets >= 0) & (targets < len(degrees))
    indptr = row_pointers(rows[inside], len(degrees))
    return ConceptSamples(
        uids=part.uid[members],
        scores=score_of[members],
        graph=KnnGraph(indptr, targets[inside], distances[inside]),
        border_rows=rows[~inside],
        border_distances=distances[~inside],
        border_scores=score_of[places[first:last][~inside]],
    )


def induced(concept: ConceptSamples, members: Int64Array) -> ConceptSamples:
    """Return some of a concept's samples as a concept of their own; their other edges cross its border.

    `members`, int64 (k,), are distinct and ascending, so that ties stay in the order of the pool.
    """
    local = np.full(len(concept.uids), -1, dtype=np.int64)
    local[members] = np.arange(len(members))
    degrees = concept.graph.degrees[members]
    rows = np.repeat(np.arange(len(members)), degrees)
    # The place of each of their edges: the row's first, and one further for each edge of the row.
    places = np.repeat(concept.graph.indptr[members] - np.cumsum(degrees) + degrees, degrees) + np.arange(len(rows))
    ends, distances = concept.graph.indices[places], concept.graph.distances[places]
    inside = local[ends] >= 0
    border = local[concept.border_rows] >= 0
    return ConceptSamples(
        uids=concept.uids[members],
        scores=concept.scores[members],
        graph=KnnGraph(row_pointers(rows[inside], len(members)), local[ends[inside]], distances[inside]),
        border_rows=np.concatenate([rows[~inside], local[concept.border_rows[border]]]),
        border_distances=np.concatenate([distances[~inside], concept.border_distances[border]], dtype=np.float32),
        border_scores=np.concatenate([concept.scores[ends[~inside]], concept.border_scores[border]]),
        vectors=None if concept.vectors is None else concept.vectors[members],
        weights=None if concept.weights is None else concept.weights[members],
    )
