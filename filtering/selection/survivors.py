"""The rows of a partition that earlier steps kept: their part of the graph and their scores, by concept."""

from collections.abc import Iterator, Sequence

import numpy as np

from filtering.graph.artifacts import read_graph
from filtering.graph.sharded import ShardGraph, restricted
from filtering.runtime.shuffle import runs
from filtering.selection.concept import ConceptSamples, concept_samples
from filtering.selection.scores import scores_of
from filtering.storage.store import Store


class Survivors:
    """The part of a partition's graph between rows that are still there, with the scores of all rows it touches.

    `scores` holds those of `partitions`: its own, and those that it shares edges with. `score_of`, float64 (u,), has
    the score of every row that `part` touches; `own` and `edges`, int64, are the places in it of the part's rows and
    of its edges' targets.
    """

    def __init__(self, part: ShardGraph, partitions: Sequence[int], scores: Store) -> None:
        touched, places = np.unique(np.concatenate([part.row, part.indices]), return_inverse=True)
        self.score_of = scores_of(touched, partitions, scores)
        there = ~np.isnan(self.score_of)[places]
        self.own, self.edges = places[: len(part.row)], places[len(part.row) :]
        self.part = part
        if not there.all():
            rows, targets = there[: len(part.row)], there[len(part.row) :]
            sources = np.repeat(rows, np.diff(part.indptr))
            self.part = restricted(part, rows, targets)
            self.own, self.edges = self.own[rows], self.edges[targets & sources]

    def concepts(self) -> Iterator[tuple[slice, ConceptSamples]]:
        """Yield the places of each concept's rows, and the concept."""
        for members in runs(self.part.concept):
            yield members, concept_samples(self.part, members, self.score_of, self.edges, self.own)


def survivors(partition: int, adjacent: Sequence[int], graph: Store, scores: Store) -> Survivors | None:
    """Return the part of a partition's graph that is still there; None if it has no rows."""
    part = read_graph(graph, partition)
    return None if part is None else Survivors(part, [partition, *adjacent], scores)
