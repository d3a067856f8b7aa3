"""D2 selection alone: the compiled greedy against a plain loop and against D2's released code, on the same graph.

    python -m benchmarks.speed.d2_select [--json OUT] [--plot OUT] [--large] [--nodes N] [--picks N]
    python -m benchmarks.speed.d2_select --released PATH [--dense-nodes N]

Prints seconds (the best of five after one warm-up call) and the ratio; the picks are checked to be the same.
`--released` takes a clone of github.com/adymaharana/d2pruning and compares stage by stage, with one thread for both.
"""

import math
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.lib.arguments import add_outputs, parser_of
from benchmarks.lib.tables import Row, print_table, write_outputs
from benchmarks.lib.timing import best_seconds, timed
from benchmarks.speed.d2_released import NEIGHBOURS, Scores, compare_with_released, points
from filtering.core.csr import symmetrised
from filtering.graph import KnnGraph, knn_graph
from filtering.selection import d2

LARGE_NODES, LARGE_PICKS = 1_000_000, 300_000


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = parser_of(__doc__)
    parser.add_argument("--large", action="store_true", help="also one million nodes, 300,000 picks")
    parser.add_argument("--nodes", type=int, default=50_000)
    parser.add_argument("--picks", type=int, default=15_000)
    parser.add_argument("--released", metavar="PATH", help="a clone of D2's released code to compare with")
    parser.add_argument("--dense-nodes", type=int, default=20_000, help="nodes of its dense path: 12 bytes a pair")
    add_outputs(parser)
    given = parser.parse_args(arguments)
    rows = [_compared(given.nodes, given.picks)]
    if given.large:
        rows.append(_timed_large(LARGE_NODES, LARGE_PICKS))
    for row in rows:
        print("  ".join(f"{name}: {value}" for name, value in row.items()))
    stages: list[Row] = []
    if given.released:
        dense_nodes = min(given.dense_nodes, given.nodes)
        stages = compare_with_released(Path(given.released), given.nodes, given.picks, dense_nodes)
        print_table(stages)
    write_outputs(rows + stages, given.json)
    write_outputs(_bars(rows, stages), None, given.plot)
    return 0


def _bars(rows: list[Row], stages: list[Row]) -> list[Row]:
    bars = [{"what": f"selection, {row['nodes']:,} nodes", "seconds": row["select_seconds"]} for row in rows]
    bars.append({"what": f"plain loop, {rows[0]['nodes']:,} nodes", "seconds": rows[0]["plain_loop_seconds"]})
    for stage in stages:
        for side in ("released", "ours"):
            bars.append({"what": f"{stage['stage']}, {stage['nodes']:,} nodes: {side}", "seconds": stage[side]})
    return bars


def _compared(nodes: int, picks: int) -> Row:
    vectors, scores = points(nodes)
    graph = knn_graph(vectors, NEIGHBOURS)
    d2.select(graph, scores, 10)
    seconds = best_seconds(lambda: d2.select(graph, scores, picks))
    chosen = d2.select(graph, scores, picks)
    loop, plain = timed(lambda: _plain_loop(graph, scores, picks))
    if plain != chosen.tolist():
        sys.exit("the plain loop picked otherwise")
    return {
        "nodes": nodes,
        "edges": len(graph.indices) // 2,
        "picks": picks,
        "select_seconds": round(seconds, 4),
        "plain_loop_seconds": round(loop, 2),
        "ratio": round(loop / seconds),
        "same_picks": True,
    }


def _timed_large(nodes: int, picks: int) -> Row:
    """Time a random graph of ten edges a node, since the search for true neighbours is not measured."""
    random = np.random.default_rng(0)
    sources = np.repeat(np.arange(nodes), 10)
    graph = symmetrised(sources, random.integers(0, nodes, len(sources)), random.random(len(sources)), nodes)
    scores = random.random(nodes)
    seconds = best_seconds(lambda: d2.select(graph, scores, picks))
    return {"nodes": nodes, "edges": len(graph.indices) // 2, "picks": picks, "select_seconds": round(seconds, 3)}


def _plain_loop(graph: KnnGraph, scores: Scores, picks: int) -> list[int]:
    """Pick by a full argmax over numpy at every step, as the formulas read."""
    x = scores.astype(np.float64).copy()
    for node in range(graph.nodes):
        for edge in range(graph.indptr[node], graph.indptr[node + 1]):
            x[node] += math.exp(-float(graph.distances[edge])) * scores[graph.indices[edge]]
    unpicked, order = x.copy(), []
    for _ in range(picks):
        pick = int(np.argmax(unpicked))
        order.append(pick)
        for edge in range(graph.indptr[pick], graph.indptr[pick + 1]):
            neighbour = graph.indices[edge]
            if unpicked[neighbour] != -np.inf:
                unpicked[neighbour] -= math.exp(-float(graph.distances[edge])) * unpicked[pick]
        unpicked[pick] = -np.inf
    return order


if __name__ == "__main__":
    raise SystemExit(main())
