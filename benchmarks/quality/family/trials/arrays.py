"""What a run of the default knows of its pool, in memory: the input of every trial."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.quality.pool.selecting import Place, configured, run_stages
from benchmarks.quality.pool.truth import Truth
from filtering.concepts.partition import global_rows
from filtering.core.csr import Int64Array, KnnGraph, grouped
from filtering.core.uids import Uids
from filtering.embedding.artifacts import EmbeddedShard, unit_rows
from filtering.filters.artifacts import PassingShard
from filtering.graph.artifacts import CHOSEN_NAME, read_adjacent, read_graph, read_part_object
from filtering.graph.joining import CHOSEN
from filtering.graph.sharded import positions
from filtering.runtime.finished_run import Base, read_base
from filtering.scores.centred import Float32Array, Float64Array, mean_of, step_sums
from filtering.scores.centred_tasks import PoolMeans
from filtering.selection.scores import read_collected, survivors
from filtering.storage.store import Store

DEFAULT = {"selection": {"keep": 0.3}}


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The m neighbours that the n pairs chose in a graph: int64 places by ascending source, and squared distances.

    `concept`, int64 (n,), is each pair's; `median` is the squared length of the graph's edges in the middle.
    """

    sources: Int64Array
    targets: Int64Array
    distances: Float32Array
    concept: Int64Array
    median: float

    def lengths(self, vectors: Float32Array) -> Float32Array:
        """Return the squared distance from each pair to each neighbour by other vectors (n, d), float32 (m,)."""
        apart = vectors[self.sources] - vectors[self.targets]
        return np.asarray(np.einsum("md,md->m", apart, apart))


@dataclass(frozen=True, slots=True)
class Concept:
    """Pairs of one concept, their places in ascending order, int64 (c,), and the edges between them."""

    members: Int64Array
    graph: KnnGraph


# Compared by identity: what follows from it is cached.
@dataclass(frozen=True, eq=False)
class PoolArrays:
    """What a run knows of n pairs, in the order of their uids, and the truth: `right`, and the `thing` in the picture.

    Vectors are float16 (n, d), `probabilities` (P(right)) and `fit` (the rank of the centred cosine) float64 (n,).
    """

    uids: Uids
    captions: list[str]
    images: npt.NDArray[np.float16]
    texts: npt.NDArray[np.float16]
    means: PoolMeans
    of_images: Neighbours
    of_captions: Neighbours
    concepts: list[Concept]
    probabilities: Float64Array
    fit: Float64Array
    right: npt.NDArray[np.bool_]
    thing: npt.NDArray[np.str_]


def pool_arrays(place: Place, truth: Truth) -> PoolArrays:
    """Run the default on a pool, or read the run if there is one."""
    config = configured(place, DEFAULT)
    run_stages(config)
    base = read_base(Store(config.output))
    columns = [np.concatenate(part) for part in zip(*_shards(base), strict=True)]
    order, known = np.argsort(columns[0]), np.argsort(truth.uids)
    uids, rows, captions, images, texts = (column[order] for column in columns)
    assert np.array_equal(truth.uids[known].astype(uids.dtype), uids), "all pairs of the pool reach selection"
    means = PoolMeans(*(mean_of([step_sums(unit_rows(side))], *side.shape) for side in (images, texts)))
    of_images, of_captions = (_neighbours(base.store(graph), rows) for graph in ("graph", "text_graph"))
    scores, concepts = _selection(base, rows)
    p, fit = (scores[name].astype(np.float64) for name in ("score", "second"))
    right, thing = truth.right[known], truth.concept[known]
    vectors = images, texts, means
    return PoolArrays(uids, captions.tolist(), *vectors, of_images, of_captions, concepts, p, fit, right, thing)


def _shards(base: Base) -> Iterator[tuple[npt.NDArray[Any], ...]]:
    """Yield uids, global rows, captions and the vectors of both sides of each shard's pairs."""
    for shard in base.shards:
        passing = PassingShard(EmbeddedShard(shard, base.store("embedding")), base.store("filters"))
        rows, captions = passing.rows(), passing.embedded.rows(["caption"])["caption"].to_pylist()
        vectors = (side.vectors(rows) for side in (passing, replace(passing, side="text")))
        yield passing.uids(rows), global_rows(shard.index, rows), np.array(captions, dtype=object)[rows], *vectors


def _selection(base: Base, rows: Int64Array) -> tuple[npt.NDArray[Any], list[Concept]]:
    """Return what selection knows of the pairs of these global rows, and the concepts in the order of their numbers."""
    graph, store = base.store("graph"), base.store("selection")
    adjacent, concepts = read_adjacent(graph), dict[int, Concept]()
    for number, others in adjacent.items():
        found = survivors(number, others, graph, store)
        assert found is not None, "only partitions that have rows are listed"
        places = positions(rows, found.part.row)
        for at, samples in found.concepts():
            concepts[int(found.part.concept[at.start])] = Concept(places[at], samples.graph)
    held = np.concatenate([read_collected(store, number) for number in adjacent])
    return held[positions(held["row"].copy(), rows)], [concepts[number] for number in sorted(concepts)]


def _neighbours(graph: Store, rows: Int64Array) -> Neighbours:
    """Return the neighbours that the pairs of these global rows chose in a graph."""
    concept, edges = np.zeros(len(rows), dtype=np.int64), []
    for number in read_adjacent(graph):
        part, marks = read_graph(graph, number), read_part_object(graph, CHOSEN_NAME, number)
        assert part is not None and marks is not None, "only partitions that have rows are listed"
        own = positions(rows, part.row)
        concept[own] = part.concept
        sources, chosen = np.repeat(own, np.diff(part.indptr)), (marks["chosen"] & CHOSEN) > 0
        edges.append((sources, positions(rows, part.indices), part.distances, chosen))
    sources, targets, distances, chosen = (np.concatenate(part) for part in zip(*edges, strict=True))
    # Each edge has two ends, and of two lengths in the middle the product takes the lower one.
    median = float(np.sort(distances)[(len(distances) - 1) // 2])
    order = np.flatnonzero(chosen)[grouped(sources[chosen], len(rows))[0]]
    return Neighbours(sources[order], targets[order], distances[order], concept, median)
