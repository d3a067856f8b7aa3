"""Concepts alone: training centroids and assigning rows to them, against faiss and scikit-learn, on one thread each.

    python -m benchmarks.speed.kmeans [--rows N] [--clusters N] [--json OUT] [--plot OUT]

Rows are pool-like. All trainings see the same sample, 160 rows a cluster as in the pipeline, and take the same number
of rounds; the others are asked for the number of centroids that ours returns. Cosines are to the nearest centroid, of
10,000 rows outside the training sample; the largest cluster is of all rows. Assignment finds the 8 nearest centroids
of every row.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import faiss
import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks.lib.arguments import add_outputs, parser_of
from benchmarks.lib.kmeans import train_centroids
from benchmarks.lib.pool_like import vectors
from benchmarks.lib.tables import Row, print_table, write_outputs
from benchmarks.lib.timing import timed
from filtering.concepts.kmeans import ITERATIONS, POINTS_PER_CENTROID
from filtering.concepts.nearest import CentroidIndex, Centroids, Float32Array, Int32Array
from filtering.embedding.artifacts import unit_rows

HELD_OUT = 10_000
SEED = 0
COUNT = 8
# Plain k-means of scikit-learn takes minutes beyond this many distances a round.
MOST_KMEANS_DISTANCES = 10_000_000
HNSW_LINKS = 32
HNSW_SEARCHING = (16, 64)
BLOCK_ROWS = 4_096
WARM_UP_ROWS, WARM_UP_CLUSTERS = 4_000, 100
NO_SCIKIT_LEARN = "scikit-learn skipped: uv pip install --editable '.[dev]'"

Assigned = Callable[[Float32Array], Int32Array]


@dataclass(frozen=True, slots=True)
class Data:
    """Rows, float32 (n, d) unit-norm: all, the training sample, and others outside it."""

    rows: Float32Array
    sample: Float32Array
    held_out: Float32Array


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = parser_of(__doc__)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--clusters", type=int, default=1_024)
    parser.add_argument("--held-out", type=int, default=HELD_OUT, help="rows outside the training sample")
    add_outputs(parser)
    given = parser.parse_args(arguments)
    data = _data(given.rows, given.clusters, given.held_out)
    faiss.omp_set_num_threads(1)
    with threadpool_limits(1):
        _warm_up(data.rows[:WARM_UP_ROWS])
        centroids, trained = _trainings(data, given.clusters)
        print_table(trained)
        print()
        assigned = _assignments(data.rows, centroids)
        print_table(assigned)
    rows = [{"measured": ": ".join(next(iter(row.items())))} | row for row in trained + assigned]
    write_outputs(rows, given.json, given.plot)
    return 0


def _data(rows: int, clusters: int, held_out: int) -> Data:
    every = vectors(rows + held_out)
    size = min(rows, clusters * POINTS_PER_CENTROID)
    chosen = np.sort(np.random.default_rng(SEED).choice(rows, size, replace=False))
    return Data(every[:rows], every[:rows][chosen], every[rows:])


def _warm_up(rows: Float32Array) -> None:
    """Compile, so that no measurement includes a first call."""
    CentroidIndex(train_centroids(rows, WARM_UP_CLUSTERS, SEED)).nearest(rows, COUNT)
    grouped = Centroids.unmoved(rows[:WARM_UP_CLUSTERS], np.arange(WARM_UP_CLUSTERS, dtype=np.int32))
    CentroidIndex(grouped).nearest(rows, COUNT)


def _trainings(data: Data, clusters: int) -> tuple[Centroids, list[Row]]:
    seconds, ours = timed(lambda: train_centroids(data.sample, clusters, SEED))
    rows = [_training("filtering, two levels", seconds, ours.vectors, data)]
    count = len(ours.vectors)
    rows.append(_training("faiss.Kmeans", *timed(lambda: _faiss(data.sample, count)), data))
    rows += _scikit_learn(data, count)
    for row in rows:
        row["of ours"] = round(row["seconds"] / rows[0]["seconds"], 2)
    return ours, rows


def _faiss(sample: Float32Array, clusters: int) -> Float32Array:
    kmeans = faiss.Kmeans(
        sample.shape[1],
        clusters,
        niter=ITERATIONS,
        spherical=True,
        seed=SEED,
        # Neither a warning about few rows nor a smaller sample.
        min_points_per_centroid=1,
        max_points_per_centroid=len(sample),
    )
    kmeans.train(sample)
    return np.asarray(kmeans.centroids, dtype=np.float32)


def _scikit_learn(data: Data, clusters: int) -> list[Row]:
    try:
        from sklearn.cluster import KMeans, MiniBatchKMeans
    except ImportError:
        print(NO_SCIKIT_LEARN)
        return []
    # No early stop: all trainings take the same number of rounds.
    settings = {"n_clusters": clusters, "max_iter": ITERATIONS, "n_init": 1, "random_state": SEED, "tol": 0.0}
    mini = MiniBatchKMeans(**settings, batch_size=BLOCK_ROWS, max_no_improvement=None)
    rows = [_training("sklearn MiniBatchKMeans", *timed(lambda: _fitted(mini, data.sample)), data)]
    if len(data.sample) * clusters <= MOST_KMEANS_DISTANCES:
        rows.append(_training("sklearn KMeans", *timed(lambda: _fitted(KMeans(**settings), data.sample)), data))
    else:
        print(f"sklearn KMeans skipped: above {MOST_KMEANS_DISTANCES:,} distances a round it takes minutes")
    return rows


def _fitted(model: Any, sample: Float32Array) -> Float32Array:
    return unit_rows(model.fit(sample).cluster_centers_)


def _training(name: str, seconds: float, centroids: Float32Array, data: Data) -> Row:
    index = faiss.IndexFlatIP(centroids.shape[1])
    index.add(centroids)
    cosines = index.search(data.held_out, 1)[0]
    sizes = np.bincount(index.search(data.rows, 1)[1][:, 0], minlength=len(centroids))
    return {
        "training": name,
        "seconds": round(seconds, 3),
        "of ours": None,
        "centroids": len(centroids),
        "mean cosine": round(float(cosines.mean()), 4),
        "largest / mean": round(float(sizes.max() / sizes.mean()), 2),
    }


def _assignments(rows: Float32Array, centroids: Centroids) -> list[Row]:
    indexes: dict[str, Assigned] = {
        "CentroidIndex": lambda block: CentroidIndex(centroids).nearest(block, COUNT)[0],
        "numpy, flat": lambda block: _numpy(block, centroids.vectors),
        "faiss IndexFlatIP": _searching(faiss.IndexFlatIP(rows.shape[1]), centroids),
    }
    hnsw = faiss.IndexHNSWFlat(rows.shape[1], HNSW_LINKS, faiss.METRIC_INNER_PRODUCT)
    for width in HNSW_SEARCHING:
        # The first builds the graph; only the search is timed.
        indexes[f"faiss IndexHNSWFlat, efSearch {width}"] = _searching(hnsw, centroids, width)
    found = {name: timed(partial(assigned, rows)) for name, assigned in indexes.items()}
    truth, ours = found["faiss IndexFlatIP"][1], found["CentroidIndex"][0]
    return [_assignment(name, seconds, nearest, truth, ours) for name, (seconds, nearest) in found.items()]


def _searching(index: Any, centroids: Centroids, width: int | None = None) -> Assigned:
    if index.ntotal == 0:
        index.add(centroids.vectors)

    def assigned(rows: Float32Array) -> Int32Array:
        if width is not None:
            index.hnsw.efSearch = width
        found: Int32Array = index.search(rows, COUNT)[1].astype(np.int32)
        return found

    return assigned


def _numpy(rows: Float32Array, centroids: Float32Array) -> Int32Array:
    found = np.empty((len(rows), COUNT), dtype=np.int32)
    for start in range(0, len(rows), BLOCK_ROWS):
        cosines = rows[start : start + BLOCK_ROWS] @ centroids.T
        near = np.argpartition(-cosines, COUNT - 1, axis=1)[:, :COUNT]
        order = np.argsort(-np.take_along_axis(cosines, near, 1), axis=1)
        found[start : start + BLOCK_ROWS] = np.take_along_axis(near, order, 1)
    return found


def _assignment(name: str, seconds: float, found: Int32Array, truth: Int32Array, ours: float) -> Row:
    eight = (found[:, :, None] == truth[:, None, :]).any(axis=1).mean()
    return {
        "assignment": name,
        "seconds": round(seconds, 3),
        "of ours": round(seconds / ours, 2),
        "us a row": round(1e6 * seconds / len(found), 2),
        "true nearest": round(float((found[:, 0] == truth[:, 0]).mean()), 4),
        "of the 8 nearest": round(float(eight), 4),
    }


if __name__ == "__main__":
    raise SystemExit(main())
