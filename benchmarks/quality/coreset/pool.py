"""What coresets are chosen from, as the package's selectors see it: concepts of samples with graphs and vectors."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.lib.kmeans import train_centroids
from benchmarks.quality.coreset.data import Int64Array
from benchmarks.quality.coreset.dynamics import own_probabilities
from benchmarks.quality.coreset.entropy import communities_of, weights_of
from benchmarks.quality.coreset.scoring import COMPLEXITY, Scores
from benchmarks.quality.coreset.zcore import DRAWS, NEIGHBOURS, zcore_scores
from filtering.concepts.kmeans import inter_distances
from filtering.concepts.nearest import CentroidIndex, Centroids
from filtering.core.csr import KnnGraph
from filtering.embedding.artifacts import unit_rows
from filtering.graph.knn import knn_graph
from filtering.scores.distances import prototypicalities
from filtering.selection.budgets import proportional_budgets
from filtering.selection.concept import ConceptSamples

Values = npt.NDArray[np.floating]
Pick = Callable[[Int64Array, int], Int64Array]

CONCEPTS, CONCEPT_SEED = 100, 0


@dataclass(frozen=True)
class Pool:
    """The n samples of a split's training data.

    Attributes
    ----------
    scores : what the scoring run says of them.
    labels : int64 (n,), their classes.
    folder : where graphs of all samples are kept.
    """

    scores: Scores
    labels: Int64Array
    folder: Path

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def vectors(self) -> npt.NDArray[np.float32]:
        """Features of unit norm, float32 (n, d)."""
        return unit_rows(self.scores.features)

    @cached_property
    def hardness(self) -> Values:
        """AUM turned round, float64 (n,), from 0, the easiest there can be, to 1."""
        return (1 - self.scores.aum.astype(np.float64)) / 2

    @cached_property
    def centroids(self) -> Centroids:
        """K-means of the features, whatever the classes."""
        return train_centroids(self.vectors, CONCEPTS, CONCEPT_SEED)

    @cached_property
    def concepts(self) -> Int64Array:
        """The nearest centroid of each sample, int64 (n,)."""
        return CentroidIndex(self.centroids).nearest(self.vectors, 1)[0][:, 0].astype(np.int64)

    @cached_property
    def prototypicality(self) -> Values:
        """The cosine distance to that centroid, float32 (n,)."""
        return prototypicalities(self.vectors, self.concepts, self.centroids.vectors)

    @cached_property
    def complexity(self) -> Values:
        """Learning complexity, float32 (n,), that has been computed before."""
        complexity: Values = np.load(self.folder / COMPLEXITY)
        return complexity

    @cached_property
    def own_probabilities(self) -> npt.NDArray[np.float64]:
        """The probability of the true label at each look, float64 (looks, n)."""
        return own_probabilities(self.scores.probabilities, self.labels)

    @cached_property
    def zcore(self) -> Values:
        """ZCore's scores of the features, float64 (n,), kept on the disk."""
        path = self.folder / "zcore.npy"
        if not path.is_file():
            np.save(path, zcore_scores(self.vectors, DRAWS, NEIGHBOURS, CONCEPT_SEED))
        scores: Values = np.load(path)
        return scores

    def communities(self, k: int) -> Int64Array:
        """Return communities of the graph of all samples, int64 (n,), kept on the disk."""
        path = self.folder / f"communities-{k}.npy"
        if not path.is_file():
            graph = self.joined(self.hardness, k).graph
            np.save(path, communities_of(graph, weights_of(graph)))
        found: Int64Array = np.load(path)
        return found

    def concept_distances(self) -> tuple[Values, Values]:
        """Return the concepts' d_intra and d_inter, float64 (K,) each."""
        sizes = np.bincount(self.concepts, minlength=len(self.centroids.vectors))
        sums = np.bincount(self.concepts, self.prototypicality, len(sizes))
        return sums / np.maximum(sizes, 1), inter_distances(self.centroids)

    def survivors(self, drop: float) -> Int64Array:
        """Return the rows that are left, int64, when a share of all, the hardest by AUM, is dropped."""
        easiest_first = np.argsort(self.hardness, kind="stable")
        return np.sort(easiest_first[: len(self) - int(len(self) * drop)])

    def samples(self, scores: Values, rows: Int64Array | None = None, k: int = 0) -> ConceptSamples:
        """Return some rows, or all, as one concept: with a graph of their own if k is given, else without edges."""
        rows = np.arange(len(self)) if rows is None else rows
        graph = knn_graph(self.vectors[rows], k) if k else _edgeless(len(rows))
        return _concept(rows, scores[rows], graph, self.vectors[rows])

    def joined(self, scores: Values, k: int) -> ConceptSamples:
        """Return all rows as one concept, with a graph that is kept on the disk."""
        path = self.folder / f"graph-{k}.npz"
        if not path.is_file():
            made = knn_graph(self.vectors, k)
            np.savez(path, indptr=made.indptr, indices=made.indices, distances=made.distances)
        with np.load(path) as stored:
            graph = KnnGraph(stored["indptr"], stored["indices"], stored["distances"])
        return _concept(np.arange(len(self)), scores, graph, self.vectors)


def by_group(groups: Int64Array, rows: Int64Array, budget: int, pick: Pick) -> Int64Array:
    """Return what `pick` picks of each group's rows, int64 (budget,); budgets are proportional to their number."""
    sizes = np.bincount(groups[rows])
    budgets = proportional_budgets(sizes, budget)
    parts = [rows[groups[rows] == group] for group in range(len(sizes))]
    return np.concatenate([part[pick(part, int(share))] for part, share in zip(parts, budgets, strict=True)])


def rejoined(concept: ConceptSamples, k: int) -> ConceptSamples:
    """Return the same samples, joined to the nearest of themselves alone."""
    assert concept.vectors is not None
    alone = _concept(np.arange(len(concept.uids)), concept.scores, knn_graph(concept.vectors, k), concept.vectors)
    return replace(alone, uids=concept.uids)


def _concept(rows: Int64Array, scores: Values, graph: KnnGraph, vectors: npt.NDArray[np.float32]) -> ConceptSamples:
    uids = np.char.zfill(rows.astype("S32"), 32)
    return ConceptSamples(
        uids=uids,
        scores=scores.astype(np.float64),
        graph=graph,
        border_rows=np.zeros(0, dtype=np.int64),
        border_distances=np.zeros(0, dtype=np.float32),
        border_scores=np.zeros(0),
        vectors=vectors,
    )


def _edgeless(nodes: int) -> KnnGraph:
    return KnnGraph(np.zeros(nodes + 1, dtype=np.int64), np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32))
