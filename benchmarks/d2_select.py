"""D2 selection alone: the compiled greedy against a plain loop, on the same graph.

    python benchmarks/d2_select.py [--json OUT] [--large]

Prints seconds (the best of five after one warm-up call) and the ratio; the picks are checked to be the same.
"""

import argparse
import json
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from filtering.graph import KnnGraph, knn_graph
from filtering.graph.csr import symmetrised
from filtering.selection import d2


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", metavar="OUT", help="write the figures there, too")
    parser.add_argument("--large", action="store_true", help="also one million nodes, 300,000 picks")
    given = parser.parse_args()
    rows = [_compared(50_000, 15_000)]
    if given.large:
        rows.append(_timed_large(1_000_000, 300_000))
    for row in rows:
        print("  ".join(f"{name}: {value}" for name, value in row.items()))
    if given.json:
        Path(given.json).write_text(json.dumps(rows, indent=1) + "\n")
    return 0


def _compared(nodes: int, picks: int) -> dict[str, Any]:
    random = np.random.default_rng(0)
    vectors = random.standard_normal((nodes, 64), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    graph, scores = knn_graph(vectors, 10), random.random(nodes)
    d2.select(graph, scores, 10)
    seconds = min(_seconds(lambda: d2.select(graph, scores, picks)) for _ in range(5))
    chosen = d2.select(graph, scores, picks)
    started = time.perf_counter()
    plain = _plain_loop(graph, scores, picks)
    loop = time.perf_counter() - started
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


def _timed_large(nodes: int, picks: int) -> dict[str, Any]:
    """Time a random graph of ten edges a node: the search for true neighbours is not what is measured."""
    random = np.random.default_rng(0)
    sources = np.repeat(np.arange(nodes), 10)
    graph = symmetrised(sources, random.integers(0, nodes, len(sources)), random.random(len(sources)), nodes)
    scores = random.random(nodes)
    seconds = min(_seconds(lambda: d2.select(graph, scores, picks)) for _ in range(5))
    return {"nodes": nodes, "edges": len(graph.indices) // 2, "picks": picks, "select_seconds": round(seconds, 3)}


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _plain_loop(graph: KnnGraph, scores: np.ndarray, picks: int) -> list[int]:
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
