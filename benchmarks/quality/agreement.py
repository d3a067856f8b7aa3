"""D2 over the sharded graph against one D2 over the whole pool: picks in common, and how well the kept set covers it.

    python -m benchmarks.quality.agreement [--rows 30000] [--keep 0.3] [--json OUT]

One D2: the exact graph of the whole pool, one greedy. The run: guests, concepts, a budget each (proportional). Between
them: one greedy over the run's own graph, which shows what the graph costs and what the concepts cost. Coverage is the
mean squared distance from every row of the pool to its nearest kept one: the smaller, the better.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pyarrow.parquet as pq

from benchmarks.lib.pool_like import write_pool
from benchmarks.lib.tables import add_outputs, print_table, write_outputs
from filtering.config.run import parse_config
from filtering.core.csr import sorted_edges
from filtering.core.uids import uid_array
from filtering.embedding.artifacts import unit_rows
from filtering.graph import KnnGraph, knn_graph
from filtering.graph.artifacts import read_graph
from filtering.pipeline.run import run
from filtering.selection import d2
from filtering.storage.store import Store

K = 10
DIMENSION = 128


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=30_000)
    parser.add_argument("--keep", type=float, default=0.3)
    add_outputs(parser)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="filtering-benchmark-") as folder:
        write_pool(f"{folder}/pool", given.rows, DIMENSION, given.rows, 0, 1)
        rows = [row for method in ("d2", "random") for row in _compared(folder, given.rows, given.keep, method)]
    print_table(rows)
    write_outputs(rows, given.json, given.plot)
    return 0


def _compared(folder: str, count: int, keep: float, method: str) -> list[dict[str, Any]]:
    config = {
        "input": {"metadata": f"{folder}/pool", "arrays": {"image": "img", "text": "txt"}},
        "selection": {"method": method, "keep": keep},
        "output": f"{folder}/run",
        "ray": {"address": "local"},
    }
    record = run(parse_config(config))
    (parquet,) = Path(folder, "pool").glob("*.parquet")
    with np.load(parquet.with_suffix(".npz")) as arrays:
        vectors = unit_rows(arrays["img"])
    uids = uid_array(pq.read_table(parquet)["uid"])
    kept = np.flatnonzero(np.isin(uids, uid_array(_kept(folder)["uid"])))
    found = [_row(f"the run, {method}", kept, kept if method == "random" else None, vectors)]
    if method == "d2":
        scores = pq.read_table(parquet)["clip_l14_similarity_score"].to_numpy()
        whole = np.sort(d2.select(knn_graph(vectors, K), scores, len(kept)))
        between = np.sort(d2.select(_union(folder, record, count), scores, len(kept)))
        found = [
            _row("one D2, exact graph", whole, whole, vectors),
            _row("one D2, the run's graph", between, whole, vectors),
            _row("the run, d2", kept, whole, vectors),
        ]
    return found


def _kept(folder: str) -> Any:
    return pq.read_table(f"{folder}/run/manifest/kept/00000000.parquet")


def _union(folder: str, record: dict[str, Any], count: int) -> KnnGraph:
    """Put the run's graph together; a pool of one shard has its rows for global ids."""
    store = Store(f"{folder}/run").child(record["objects"]["graph"])
    parts = [part for at in range(record["graph"]["partitions"]) if (part := read_graph(store, at)) is not None]
    rows = np.concatenate([np.repeat(part.row, np.diff(part.indptr)) for part in parts])
    columns, lengths = (np.concatenate([getattr(part, name) for part in parts]) for name in ("indices", "distances"))
    return KnnGraph(*sorted_edges(rows, columns, lengths, count))


def _row(name: str, kept: Any, reference: Any, vectors: Any) -> dict[str, Any]:
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
