"""D2 over the sharded graph against one D2 over the whole pool: picks in common, coverage of the pool, and seconds.

    python -m benchmarks.quality.agreement [--rows 30000] [--keep 0.3] [--exchanges 8 ...] [--repeats 3] [--json OUT]
    python -m benchmarks.quality.agreement --rows 300000 --same-graph

One D2 is the greedy over the exact graph of the whole pool. The run has replicas, concepts and a budget for each
(proportional). Between the two stands one greedy over the run's own graph, which separates the cost of the graph from
that of the concepts, and one with the run's budgets. With `exchanges` concepts exchange the picks at their borders, by
concept budgets or with one for the pool. Coverage is the mean squared distance from every row of the pool to its
nearest kept row: smaller is better. Seconds are those of the stage, the least of the repeats, one after the other.
`--same-graph` leaves out the exact graph and coverage, which do not fit a large pool.
"""

import heapq
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
from filtering.selection.kernel import Kernel
from filtering.storage.store import Store

Rows = npt.NDArray[np.int64]

K = 10
DIMENSION = 128
PAPER = {"method": "d2", "variant": "paper"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = parser_of(__doc__)
    parser.add_argument("--rows", type=int, default=30_000)
    parser.add_argument("--keep", type=float, default=0.3, help="the share of the rows to keep")
    parser.add_argument("--exchanges", type=int, nargs="+", default=[1, 2, 4, 6, 8, 12, 16], help="rounds of exchange")
    parser.add_argument("--repeats", type=int, default=3, help="how often a selection is timed")
    parser.add_argument("--same-graph", action="store_true", help="compare on the run's graph alone")
    add_address(parser)
    add_outputs(parser, plot="")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="filtering-benchmark-") as folder:
        write_pool(f"{folder}/pool", given.rows, DIMENSION, given.rows, 0, 1)
        selections = Selections(folder, int(given.rows * given.keep), given.repeats, given.address)
        rows = _compared(selections, given.exchanges, given.same_graph)
    print_table(rows)
    write_outputs(rows, given.json)
    return 0


@dataclass(frozen=True, slots=True)
class Selections:
    """Selections of a pool: its folder, how many rows each keeps, how often it is timed, and the cluster's address."""

    folder: str
    keep: int
    repeats: int
    address: str

    def taken(self, settings: Mapping[str, object]) -> tuple[RunRecord, Rows, float]:
        """Return the record of a run with a selection, the rows that it kept, ascending, and the stage's seconds."""
        # A selection is computed again where it keeps another number.
        records = [_run(self, settings, self.keep + more) for more in range(self.repeats - 1, -1, -1)]
        seconds = [one["seconds"] for record in records for one in record["stages"] if one["name"] == "selection"]
        kept = pq.read_table(f"{self.folder}/run/manifest/kept/00000000.parquet")
        uids = uid_array(pq.read_table(_parquet(self.folder))["uid"])
        return records[-1], np.flatnonzero(np.isin(uids, uid_array(kept["uid"]))), min(seconds)


def _compared(selections: Selections, exchanges: Sequence[int], same_graph: bool) -> list[Row]:
    record, kept, plain = selections.taken(PAPER)
    vectors, scores = _pool(selections.folder)
    graph, concepts = _union(selections.folder, record, len(vectors))
    between = np.sort(d2.select(graph, scores, len(kept)))
    budgets = np.bincount(concepts[kept])
    quotas = _with_budgets(graph, d2.forward_messages(graph, scores), concepts, budgets)
    whole = None if same_graph else np.sort(d2.select(knn_graph(vectors, K), scores, len(kept)))
    rows = _Rows(vectors, whole, between, quotas, plain)
    if whole is not None:
        rows.add("one D2, exact graph", whole)
    rows.add("one D2, the run's graph", between)
    rows.add("one D2, the run's graph and budgets", quotas)
    rows.add("the run, d2", kept, plain)
    for budget in ("proportional", "pool"):
        before = kept
        for number in exchanges:
            _, now, seconds = selections.taken(PAPER | {"exchanges": number, "budget": budget})
            rows.add(f"{number} exchanges, budget {budget}", now, seconds, before)
            before = now
    if whole is not None:
        rows.add("the run, random", selections.taken({"method": "random"})[1])
    return rows.found


def _run(selections: Selections, settings: Mapping[str, object], keep: int) -> RunRecord:
    config = {
        "input": {"metadata": f"{selections.folder}/pool", "arrays": {"image": "img", "text": "txt"}},
        "selection": {**settings, "keep": keep},
        "output": f"{selections.folder}/run",
        "ray": {"address": selections.address},
    }
    return run(parse_config(config))


def _with_budgets(graph: KnnGraph, x: npt.NDArray[np.float64], concepts: Rows, budgets: Rows) -> Rows:
    """Return the rows that one greedy picks, ascending, if each concept may only pick as many as its budget."""
    x, left, there = x.copy(), budgets.tolist(), np.ones(len(x), dtype=bool)
    weights, heap = Kernel().weights(graph.distances, 1.0), [(-value, row) for row, value in enumerate(x.tolist())]
    heapq.heapify(heap)
    while heap:
        value, row = heapq.heappop(heap)
        if not there[row] or -value != x[row] or not left[concepts[row]]:
            continue
        there[row] = False
        left[concepts[row]] -= 1
        for edge in range(graph.indptr[row], graph.indptr[row + 1]):
            other = graph.indices[edge]
            if there[other]:
                x[other] -= weights[edge] * x[row]
                heapq.heappush(heap, (-x[other], int(other)))
    return np.flatnonzero(~there)


def _pool(folder: str) -> tuple[Vectors, npt.NDArray[np.float64]]:
    """Return the pool's image embeddings, float32 (n, d), and CLIP scores, float64 (n,)."""
    with np.load(_parquet(folder).with_suffix(".npz")) as arrays:
        vectors = unit_rows(arrays["img"])
    return vectors, pq.read_table(_parquet(folder))["clip_l14_similarity_score"].to_numpy()


def _parquet(folder: str) -> Path:
    (path,) = Path(folder, "pool").glob("*.parquet")
    return path


def _union(folder: str, record: RunRecord, count: int) -> tuple[KnnGraph, Rows]:
    """Return the run's whole graph, and each row's concept; in a pool of one shard, the global ids are its rows."""
    store = Store(f"{folder}/run").child(record["objects"]["graph"])
    parts = [part for at in range(record["graph"]["partitions"]) if (part := read_graph(store, at)) is not None]
    rows = np.concatenate([np.repeat(part.row, np.diff(part.indptr)) for part in parts])
    columns, lengths = (np.concatenate([getattr(part, name) for part in parts]) for name in ("indices", "distances"))
    concepts = np.empty(count, dtype=np.int64)
    for part in parts:
        concepts[part.row] = part.concept
    return KnnGraph(*sorted_edges(rows, columns, lengths, count)), concepts


class _Rows:
    """The rows of the table, and what they are compared with; without an exact graph there is no coverage either."""

    def __init__(self, vectors: Vectors, whole: Rows | None, between: Rows, quotas: Rows, plain: float) -> None:
        self.vectors, self.plain, self.found = vectors, plain, list[Row]()
        self.references = {"one D2": whole, "on its graph": between, "with its budgets": quotas}

    def add(self, name: str, kept: Rows, seconds: float | None = None, before: Rows | None = None) -> None:
        """Add a selection; `before` is what it was before the rounds that it has more."""
        row: Row = {"selection": name, "picks": len(kept)}
        for title, reference in self.references.items():
            if reference is not None:
                row[title] = _common(kept, reference)
        row["changed since"] = "" if before is None else round(1 - _common(kept, before), 4)
        if self.references["one D2"] is not None:
            row["coverage"] = round(_coverage(self.vectors, kept), 5)
        row["seconds"] = "" if seconds is None else round(seconds, 2)
        row["times d2"] = "" if seconds is None else round(seconds / self.plain, 2)
        self.found.append(row)


def _common(kept: Rows, reference: Rows) -> float:
    return round(len(np.intersect1d(kept, reference)) / len(kept), 4)


def _coverage(vectors: Vectors, kept: Rows) -> float:
    index = faiss.IndexFlatL2(vectors.shape[1])
    index.add(vectors[kept])
    return float(index.search(vectors, 1)[0].mean())


if __name__ == "__main__":
    raise SystemExit(main())
