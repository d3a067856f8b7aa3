"""The search for neighbours alone, in one process and one thread: concepts with replicas against faiss over all rows.

    python -m benchmarks.speed.graph [--rows N] [--clusters N] [--recall R] [--json OUT] [--plot OUT]
    python -m benchmarks.speed.graph --fashion-mnist [DIR]

Concepts and replicas are found as the pipeline finds them, on pool-like rows or on Fashion-MNIST (Debian's package
dataset-fashion-mnist), centred. Seconds include everything: training, assignment, exact rows and search; or building
and search. Recall@10 is measured on 1,000 rows that decided nothing; HNSW searches no wider than the same recall
needs.

    python -m benchmarks.speed.graph --kinds bytes steps float32 [--rows N] [--dimension D] [--rounds N]

compares kinds of products over the same concepts and replicas: CPU seconds, the best of several rounds in which all
kinds take turns, and whether they find the same. FILTERING_PRODUCTS forces one kind in the whole comparison above.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import faiss
import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from benchmarks.lib import fashion_mnist
from benchmarks.lib.arguments import add_outputs, parser_of
from benchmarks.lib.kmeans import train_centroids
from benchmarks.lib.pool_like import vectors
from benchmarks.lib.tables import Row, print_table, write_outputs
from benchmarks.lib.timing import seconds_of
from filtering.concepts.exact_search import recall_at_k
from filtering.concepts.kmeans import POINTS_PER_CENTROID, automatic_clusters
from filtering.concepts.nearest import CentroidIndex, Float32Array, Int32Array
from filtering.concepts.partition import Partition
from filtering.concepts.replicas import NO_CONCEPT, NearestConcepts, border_margins, margin_for, needed_margins
from filtering.concepts.stage import FEWEST_LARGEST, OVERSIZED
from filtering.embedding.artifacts import unit_rows
from filtering.graph.knn import nearest_neighbours
from filtering.graph.products import NARROW_ROWS, Kind, fastest_kind
from filtering.graph.sharded import found_neighbours

Int64Array = npt.NDArray[np.int64]
Invited = npt.NDArray[np.bool_]

K, REACH = 10, 16
DECIDING, MEASURED = 256, 1_000
# Enough rows a concept that bytes are multiplied.
WARM_UP_ROWS, WARM_UP_CLUSTERS = 9_000, 3
HNSW_LINKS, HNSW_BUILDING = 32, 40
# The narrowest is no wider than what is asked for, k and the row itself.
HNSW_SEARCHING = (11, 16, 24, 32, 48, 64, 96, 128, 192, 256)


@dataclass(frozen=True, slots=True)
class Pool:
    """Rows as the pipeline stores them, those searched exactly, and their true distances.

    Attributes
    ----------
    stored : float16 (n, d); unit : float32 (n, d).
    deciding, measured : int64 (q,), row numbers.
    exact : float32 (q, k), squared distances of the measured rows' true neighbours.
    """

    stored: npt.NDArray[np.float16]
    unit: Float32Array
    deciding: Int64Array
    measured: Int64Array
    exact: Float32Array


@dataclass(frozen=True, slots=True)
class Cells:
    """Each row's nearest concepts, its margins to them, and how long it took to find them."""

    concepts: Int32Array
    margins: Float32Array
    count: int
    seconds: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = parser_of(__doc__)
    parser.add_argument("--rows", type=int, default=60_000)
    parser.add_argument("--clusters", type=int, help="by default the pipeline's choice")
    parser.add_argument("--recall", type=float, default=0.97)
    parser.add_argument("--dimension", type=int, default=512)
    parser.add_argument("--kinds", nargs="+", choices=get_args(Kind))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--fashion-mnist", metavar="DIR", nargs="?", const=fashion_mnist.FOLDER, type=Path)
    add_outputs(parser)
    given = parser.parse_args(arguments)
    found = _fashion_mnist(given.fashion_mnist) if given.fashion_mnist else vectors(given.rows, given.dimension)
    stored = found[: given.rows].astype(np.float16)
    faiss.omp_set_num_threads(1)
    with threadpool_limits(1):
        clusters = given.clusters or automatic_clusters(len(stored))
        if given.kinds:
            rows = _kinds(stored, clusters, given.recall, given.kinds, given.rounds)
        else:
            rows = _measured(stored, clusters, given.recall)
    print_table(rows)
    write_outputs(rows, given.json, given.plot)
    return 0


def _fashion_mnist(folder: Path) -> Float32Array:
    images = fashion_mnist.images(folder, "train")
    pixels = images.reshape(len(images), -1)
    # Uncentred, every picture would point the same way.
    return unit_rows(pixels - pixels.mean(axis=0, dtype=np.float32))


def _measured(stored: npt.NDArray[np.float16], clusters: int, recall: float) -> list[Row]:
    products = fastest_kind(NARROW_ROWS)
    print(f"{len(stored):,} rows of {stored.shape[1]} dimensions, {clusters:,} clusters, products in {products}")
    # What is compiled at its first call is not measured.
    few = _pool(stored[:WARM_UP_ROWS])
    cells = _cells(few, WARM_UP_CLUSTERS)
    _searched(few, cells, "", cells.margins <= _margin(few, cells, recall)[0])
    pool = _pool(stored)
    ours = _concepts(pool, clusters, recall)
    exact = _exact(pool)
    rows = [ours[0], exact, _hnsw(pool, ours[0]["recall@10"]), *ours[1:]]
    for row in rows:
        row["of exact"] = round(row["seconds"] / exact["seconds"], 3)
    return rows


def _kinds(
    stored: npt.NDArray[np.float16], clusters: int, recall: float, kinds: Sequence[Kind], rounds: int
) -> list[Row]:
    """Search the same concepts with each kind of products, all in turn, after a round that compiles."""
    pool = _pool(stored)
    cells = _cells(pool, clusters)
    partition = _partition(pool, cells, cells.margins <= _margin(pool, cells, recall)[0])
    seconds: dict[Kind, list[float]] = {kind: [] for kind in kinds}
    found = {}
    for _ in range(rounds + 1):
        for kind in kinds:
            started = time.process_time()
            found[kind], pairs = found_neighbours(partition, K, kind=kind)
            seconds[kind].append(time.process_time() - started)
    best = {kind: min(measured[1:]) for kind, measured in seconds.items()}
    last = kinds[-1]
    return [
        {
            "products": kind,
            "CPU seconds": round(best[kind], 3),
            "ns a distance": round(best[kind] / pairs * 1e9, 2),
            f"of {last}": round(best[kind] / best[last], 3),
            "same neighbours": bool((found[kind].ids == found[last].ids).all()),
        }
        for kind in kinds
    ]


def _pool(stored: npt.NDArray[np.float16]) -> Pool:
    unit = unit_rows(stored)
    asked = np.random.default_rng(0).permutation(len(unit))
    deciding, measured = np.sort(asked[:DECIDING]), np.sort(asked[DECIDING : DECIDING + MEASURED])
    return Pool(stored, unit, deciding, measured, nearest_neighbours(unit[measured], unit, measured, K)[1])


def _concepts(pool: Pool, clusters: int, recall: float) -> list[Row]:
    """Measure the chosen margin first, then what it is compared with on the same concepts."""
    cells = _cells(pool, clusters)
    started = time.perf_counter()
    margin, expected = _margin(pool, cells, recall)
    choosing = time.perf_counter() - started
    print(f"concepts {cells.seconds:.2f} s, exact rows {choosing:.2f} s: margin {margin:.4f}, expected {expected:.4f}")
    ranks = np.broadcast_to(np.arange(cells.concepts.shape[1]), cells.concepts.shape)
    rows = [_searched(pool, cells, "replicas by margin", cells.margins <= margin, choosing)]
    rows.append(_searched(pool, cells, "own concept alone", ranks < 1))
    rows += [_searched(pool, cells, f"{reach} nearest concepts", ranks < reach) for reach in (2, 3, 4)]
    return rows


def _cells(pool: Pool, clusters: int) -> Cells:
    started = time.perf_counter()
    size = min(clusters * POINTS_PER_CENTROID, len(pool.unit))
    sample = np.sort(np.random.default_rng(1).choice(len(pool.unit), size, replace=False))
    centroids = train_centroids(pool.unit[sample], clusters, 0)
    concepts, distances = CentroidIndex(centroids).nearest(pool.unit, min(REACH, len(centroids.vectors)))
    margins = border_margins(concepts, distances, centroids)
    return Cells(concepts, margins, len(centroids.vectors), time.perf_counter() - started)


def _margin(pool: Pool, cells: Cells, recall: float) -> tuple[float, float]:
    neighbours, _ = nearest_neighbours(pool.unit[pool.deciding], pool.unit, pool.deciding, K)
    left, right = np.repeat(pool.deciding, K), neighbours.ravel()
    needed = needed_margins(*(NearestConcepts(cells.concepts[side], cells.margins[side]) for side in (left, right)))
    return margin_for(needed, recall)


def _searched(pool: Pool, cells: Cells, name: str, invited: Invited, choosing: float = 0.0) -> Row:
    """Search one partition of everything, with these replicas."""
    started = time.perf_counter()
    partition = _partition(pool, cells, invited)
    found, pairs = found_neighbours(partition, K)
    seconds = time.perf_counter() - started
    count = len(pool.unit)
    return {
        "search": name,
        "seconds": round(cells.seconds + choosing + seconds, 3),
        "of exact": None,
        "recall@10": _recall(pool, found.ids[pool.measured]),
        "replicas a row": round((len(partition.place) - count) / count, 3),
        "distances / N^2": round(pairs / count**2, 4),
        "search seconds": round(seconds, 3),
    }


def _partition(pool: Pool, cells: Cells, invited: Invited) -> Partition:
    """Return every row at home and where it is a replica, in the order in which a partition is read."""
    count = len(pool.unit)
    sections = _sections(cells, count)
    first = np.cumsum(sections) - sections
    drawn = np.random.default_rng(2).integers(0, 1 << 62, count)
    standing = invited & (cells.concepts != NO_CONCEPT)
    standing[:, 0] = True
    place, column = np.nonzero(standing)
    cell = cells.concepts[place, column]
    concept = (first[cell] + drawn[place] % sections[cell]).astype(np.int32)
    home = concept[column == 0]
    order = np.lexsort((place, column != 0, concept))
    everyone = np.arange(count)
    uids = np.char.zfill(everyone.astype("S32"), 32)
    again = np.ones(len(everyone), dtype=bool)
    return Partition(everyone, uids, home, pool.stored, place[order], concept[order], again)


def _sections(cells: Cells, count: int) -> Int64Array:
    """Return into how many concepts each cluster is cut, as the pipeline cuts oversized ones."""
    sizes = np.bincount(cells.concepts[:, 0], minlength=cells.count)
    largest = max(-(-OVERSIZED * count // cells.count), FEWEST_LARGEST)
    return np.maximum(-(-sizes // largest), 1)


def _exact(pool: Pool) -> Row:
    index = faiss.IndexFlatL2(pool.unit.shape[1])
    started = time.perf_counter()
    index.add(pool.unit)
    found = _others(index, pool, np.arange(len(pool.unit)))
    seconds = time.perf_counter() - started
    recall = _recall(pool, found[pool.measured])
    figures = {"recall@10": recall, "replicas a row": None, "distances / N^2": 1.0, "search seconds": round(seconds, 3)}
    return {"search": "faiss IndexFlatL2", "seconds": round(seconds, 3), "of exact": None, **figures}


def _hnsw(pool: Pool, recall: float) -> Row:
    """Build once, find the narrowest search that reaches the recall on the measured rows, and search everything."""
    index = faiss.IndexHNSWFlat(pool.unit.shape[1], HNSW_LINKS)
    index.hnsw.efConstruction = HNSW_BUILDING
    building = seconds_of(lambda: index.add(pool.unit))
    for width in HNSW_SEARCHING:
        index.hnsw.efSearch = width
        reached = _recall(pool, _others(index, pool, pool.measured))
        if reached >= recall:
            break
    # The types of faiss do not know its statistics.
    statistics: Any = faiss.cvar
    statistics.hnsw_stats.reset()
    searching = seconds_of(lambda: _others(index, pool, np.arange(len(pool.unit))))
    return {
        "search": f"faiss IndexHNSWFlat, efSearch {width}" + ", recall not reached" * (reached < recall),
        "seconds": round(building + searching, 3),
        "of exact": None,
        "recall@10": reached,
        "replicas a row": None,
        # Those of the search: faiss does not count what building computes.
        "distances / N^2": round(statistics.hnsw_stats.ndis / len(pool.unit) ** 2, 4),
        "search seconds": round(searching, 3),
    }


def _others(index: faiss.Index, pool: Pool, rows: Int64Array) -> Int64Array:
    """Return the k nearest rows of some rows, themselves left out, int64 (q, k)."""
    found = index.search(pool.unit[rows], K + 1)[1]
    # Stable: the row itself goes last, the others keep their order. Behind a twin it may be missing.
    order = np.argsort(found == rows[:, None], axis=1, kind="stable")[:, :K]
    return np.take_along_axis(found, order, axis=1)


def _recall(pool: Pool, found: Int64Array) -> float:
    """Return recall@10 of what was found for the measured rows, by exact distances."""
    difference = pool.unit[np.maximum(found, 0)] - pool.unit[pool.measured][:, None]
    distances = np.einsum("qkd,qkd->qk", difference, difference)
    distances[found < 0] = np.inf
    return round(recall_at_k(distances, pool.exact), 4)


if __name__ == "__main__":
    raise SystemExit(main())
