"""D2 over the sharded graph against one D2 over the whole pool: picks in common, and coverage of the pool.

    python -m benchmarks.quality.agreement [--rows 30000] [--keep 0.3] [--json OUT]

One D2 is the greedy over the exact graph of the whole pool. The run has replicas, concepts and a budget for each
(proportional). Between the two stands one greedy over the run's own graph, which separates the cost of the graph from
that of the concepts. Coverage is the mean squared distance from every row of the pool to its nearest kept row: smaller
is better.
"""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import faiss
import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from benchmarks.lib.arguments import add_address, add_outputs, parser_of
from benchmarks.lib.pool_like import Vectors, write_pool
from benchmarks.lib.tables import Row, print_table, write_outputs
from filtering.config.run import parse_config
from filtering.core.csr import sorted_edges
from filtering.core.uids import uid_array
from filtering.embedding.artifacts import unit_rows
from filtering.graph import KnnGraph, knn_graph
from filtering.graph.artifacts import read_graph
from filtering.pipeline.run import run
from filtering.runtime.run_record import RunRecord
from filtering.selection import d2
from filtering.storage.store import Store

Rows = npt.NDArray[np.int64]

K = 10
DIMENSION = 128


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = parser_of(__doc__)
    parser.add_argument("--rows", type=int, default=30_000)
    parser.add_argument("--keep", type=float, default=0.3, help="the share of the rows to keep")
    add_address(parser)
    add_outputs(parser, plot="")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="filtering-benchmark-") as folder:
        write_pool(f"{folder}/pool", given.rows, DIMENSION, given.rows, 0, 1)
        rows = [*_d2(folder, given.keep, given.address), *_random(folder, given.keep, given.address)]
    print_table(rows)
    write_outputs(rows, given.json)
    return 0


def _d2(folder: str, keep: float, address: str) -> list[Row]:
    record, kept = _run(folder, {"method": "d2", "variant": "paper"}, keep, address)
    vectors, scores = _pool(folder)
    whole = np.sort(d2.select(knn_graph(vectors, K), scores, len(kept)))
    between = np.sort(d2.select(_union(folder, record, len(vectors)), scores, len(kept)))
    return [
        _row("one D2, exact graph", whole, whole, vectors),
        _row("one D2, the run's graph", between, whole, vectors),
        _row("the run, d2", kept, whole, vectors),
    ]


def _random(folder: str, keep: float, address: str) -> list[Row]:
    _, kept = _run(folder, {"method": "random"}, keep, address)
    return [_row("the run, random", kept, None, _pool(folder)[0])]


def _run(folder: str, method: Mapping[str, str], keep: float, address: str) -> tuple[RunRecord, Rows]:
    """Return a run's record and the rows of the pool that it kept, ascending."""
    config = {
        "input": {"metadata": f"{folder}/pool", "arrays": {"image": "img", "text": "txt"}},
        "selection": {**method, "keep": keep},
        "output": f"{folder}/run",
        "ray": {"address": address},
    }
    record = run(parse_config(config))
    kept = pq.read_table(f"{folder}/run/manifest/kept/00000000.parquet")
    uids = uid_array(pq.read_table(_parquet(folder))["uid"])
    return record, np.flatnonzero(np.isin(uids, uid_array(kept["uid"])))


def _pool(folder: str) -> tuple[Vectors, npt.NDArray[np.float64]]:
    """Return the pool's image embeddings, float32 (n, d), and CLIP scores, float64 (n,)."""
    with np.load(_parquet(folder).with_suffix(".npz")) as arrays:
        vectors = unit_rows(arrays["img"])
    return vectors, pq.read_table(_parquet(folder))["clip_l14_similarity_score"].to_numpy()


def _parquet(folder: str) -> Path:
    (path,) = Path(folder, "pool").glob("*.parquet")
    return path


def _union(folder: str, record: RunRecord, count: int) -> KnnGraph:
    """Return the run's whole graph; in a pool of one shard, the global ids are its rows."""
    store = Store(f"{folder}/run").child(record["objects"]["graph"])
    parts = [part for at in range(record["graph"]["partitions"]) if (part := read_graph(store, at)) is not None]
    rows = np.concatenate([np.repeat(part.row, np.diff(part.indptr)) for part in parts])
    columns, lengths = (np.concatenate([getattr(part, name) for part in parts]) for name in ("indices", "distances"))
    return KnnGraph(*sorted_edges(rows, columns, lengths, count))


def _row(name: str, kept: Rows, reference: Rows | None, vectors: Vectors) -> Row:
    index = faiss.IndexFlatL2(vectors.shape[1])
    index.add(vectors[kept])
    nearest = index.search(vectors, 1)[0]
    common = "" if reference is None else round(len(np.intersect1d(kept, reference)) / len(kept), 4)
    return {
        "selection": name,
        "picks": len(kept),
        "in common with one D2": common,
        "coverage": round(float(nearest.mean()), 5),
    }


if __name__ == "__main__":
    raise SystemExit(main())
