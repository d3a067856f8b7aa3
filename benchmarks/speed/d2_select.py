"""D2 selection alone: the compiled greedy against a plain loop and against D2's released code, on the same graph.

    python -m benchmarks.speed.d2_select [--json OUT] [--plot OUT] [--large] [--nodes N] [--picks N]
    python -m benchmarks.speed.d2_select --released PATH [--dense-nodes N]

Prints seconds (the best of five after one warm-up call) and the ratio; the picks are checked to be the same.
`--released` takes a clone of github.com/adymaharana/d2pruning and compares stage by stage, with one thread for both.
"""

import argparse
import importlib.util
import io
import math
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import faiss
import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from benchmarks.lib.tables import Row, add_outputs, print_table, write_outputs
from filtering.core.csr import symmetrised
from filtering.graph import KnnGraph, knn_graph
from filtering.graph.knn import nearest_neighbours
from filtering.selection import d2

# Neighbours and distances, (n, k) each.
Lists = tuple[np.ndarray, np.ndarray]

NEIGHBOURS = 10
# The released dense path: a float32 matrix of distances and a float64 one of weights.
DENSE_BYTES_A_PAIR = 12
# What the released files import and this project does not.
IMPORTED = ("tqdm", "pandas", "sklearn", "sklearn.neighbors", "sklearn.metrics")


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_outputs(parser)
    parser.add_argument("--large", action="store_true", help="also one million nodes, 300,000 picks")
    parser.add_argument("--nodes", type=int, default=50_000)
    parser.add_argument("--picks", type=int, default=15_000)
    parser.add_argument("--released", metavar="PATH", help="a clone of D2's released code to compare with")
    parser.add_argument("--dense-nodes", type=int, default=20_000, help="nodes of its dense path: 12 bytes a pair")
    given = parser.parse_args()
    rows = [_compared(given.nodes, given.picks)]
    if given.large:
        rows.append(_timed_large(1_000_000, 300_000))
    for row in rows:
        print("  ".join(f"{name}: {value}" for name, value in row.items()))
    stages: list[Row] = []
    if given.released:
        stages = _against_released(Path(given.released), given.nodes, given.picks, min(given.dense_nodes, given.nodes))
        print_table(stages)
    write_outputs(rows + stages, given.json, None)
    write_outputs(_bars(rows, stages), None, given.plot)
    return 0


def _bars(rows: list[Row], stages: list[Row]) -> list[Row]:
    bars = [{"what": f"selection, {row['nodes']:,} nodes", "seconds": row["select_seconds"]} for row in rows]
    bars.append({"what": f"plain loop, {rows[0]['nodes']:,} nodes", "seconds": rows[0]["plain_loop_seconds"]})
    for stage in stages:
        for side in ("released", "ours"):
            bars.append({"what": f"{stage['stage']}, {stage['nodes']:,} nodes: {side}", "seconds": stage[side]})
    return bars


def _compared(nodes: int, picks: int) -> dict[str, Any]:
    vectors, scores = _points(nodes)
    graph = knn_graph(vectors, NEIGHBOURS)
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


def _points(nodes: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float64]]:
    random = np.random.default_rng(0)
    vectors = random.standard_normal((nodes, 64), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors, random.random(nodes)


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


def _against_released(path: Path, nodes: int, picks: int, dense_nodes: int) -> list[Row]:
    """Compare the three paths of the released code, each at a size it can run at."""
    full, dense = (DENSE_BYTES_A_PAIR * size**2 / 1e9 for size in (nodes, dense_nodes))
    print(f"\nreleased: dense path at {dense_nodes:,} nodes ({dense:.1f} GB; {full:.0f} GB at {nodes:,}),", end=" ")
    print(f"precomputed neighbours and the DataComp script at {nodes:,}; one thread, Euclidean distances")
    faiss.omp_set_num_threads(1)
    with threadpool_limits(1):
        rows = _precomputed(path, nodes, picks)
        if importlib.util.find_spec("sklearn") is None:
            print("dense path skipped: it needs scikit-learn, uv pip install --editable '.[benchmarks]'")
            return rows
        return _dense(path, dense_nodes, picks * dense_nodes // nodes) + rows


def _dense(path: Path, nodes: int, picks: int) -> list[Row]:
    """Its class over all pairs. Construction is what it spends in scikit-learn, forward the rest of its constructor."""
    vectors, scores = _points(nodes)
    released = _released_module(path / "core/data/sampling.py")
    searching: list[float] = []
    for name in ("pairwise_distances", "kneighbors_graph"):
        setattr(released, name, _timed(getattr(released, name), searching))
    building, sampler = _quietly(lambda: released.GraphDensitySampler(vectors, None, 0, 1.0, scores, _arguments()))
    selecting, chosen = _quietly(lambda: sampler.select_batch_(picks))
    constructing = _seconds(lambda: knn_graph(vectors, NEIGHBOURS))
    rows, columns = sampler.connect.nonzero()
    graph = symmetrised(rows, columns, sampler.distances[rows, columns].astype(np.float64), nodes)
    forward, selection, ours = _our_stages(graph, scores, picks)
    return [
        _stage("graph construction, dense", nodes, picks, sum(searching), constructing),
        _stage("forward messages, dense", nodes, picks, building - sum(searching), forward),
        _stage("selection, dense", nodes, picks, selecting, selection) | _common(ours, chosen),
    ]


def _precomputed(path: Path, nodes: int, picks: int) -> list[Row]:
    """Its paths over given neighbours: the class that reads them from files, and the script for DataComp.

    They are timed on k directed neighbours, which is how they are used, and their picks compared on our undirected
    graph: as lists where the absent neighbours are the point itself, infinitely far, which changes nothing. The script
    walks the points by their first scores and looks one ahead, so that its picks are not those of the greedy.
    """
    vectors, scores = _points(nodes)
    neighbours, squared = nearest_neighbours(vectors, vectors, np.arange(nodes), NEIGHBOURS)
    distances = np.sqrt(squared.astype(np.float64))
    graph = symmetrised(np.repeat(np.arange(nodes), NEIGHBOURS), neighbours.ravel(), distances.ravel(), nodes)
    forward, selection, ours = _our_stages(graph, scores, picks)
    messages, padded = d2.forward_messages(graph, scores), _padded(graph)
    sampling = _released_module(path / "core/data/sampling.py")
    script = _released_module(path / "select_d2_datacomp.py")
    with tempfile.TemporaryDirectory() as folder:
        taken = _run_sampler(sampling, Path(folder), (neighbours, distances), scores, picks)
        same = _run_sampler(sampling, Path(folder), padded, scores, picks)
        script_taken = _run_script(script, Path(folder), (neighbours, distances), messages, scores, picks)
        script_same = _run_script(script, Path(folder), padded, messages, scores, picks)
    return [
        _stage("forward messages, precomputed", nodes, picks, taken[0], forward),
        _stage("selection, precomputed", nodes, picks, taken[1], selection) | _common(ours, same[2]),
        _stage("selection, DataComp script", nodes, picks, script_taken[0], selection) | _common(ours, script_same[1]),
    ]


def _our_stages(graph: KnnGraph, scores: np.ndarray, picks: int) -> tuple[float, float, npt.NDArray[np.int64]]:
    messages = d2.forward_messages(graph, scores)
    forward = min(_seconds(lambda: d2.forward_messages(graph, scores)) for _ in range(5))
    selection = min(_seconds(lambda: d2.greedy_picks(graph, messages, picks)) for _ in range(5))
    return forward, selection, d2.greedy_picks(graph, messages, picks)


def _run_sampler(
    released: ModuleType, folder: Path, lists: Lists, scores: np.ndarray, picks: int
) -> tuple[float, float, list[int]]:
    files = {"precomputed_neighbors": folder / "neighbours.npy", "precomputed_dists": folder / "distances.npy"}
    # It leaves out the first column, where a search finds the point itself.
    for file, values in zip(files.values(), lists, strict=True):
        np.save(file, np.concatenate([values[:, :1], values], axis=1))
    arguments = _arguments(n_neighbor=lists[0].shape[1], **files)
    # It asks a torch tensor for its array.
    tensor = SimpleNamespace(numpy=lambda: scores)
    forward, sampler = _quietly(lambda: released.GraphDensitySampler(None, None, 0, 1.0, tensor, arguments))
    return forward, *_quietly(lambda: sampler.select_batch_(picks))


def _run_script(
    released: ModuleType, folder: Path, lists: Lists, messages: np.ndarray, scores: np.ndarray, picks: int
) -> tuple[float, list[int]]:
    files = [str(folder / f"{name}.npy") for name in ("messages", "neighbours", "scores", "distances")]
    for file, values in zip(files, (messages, lists[0], scores, lists[1]), strict=True):
        np.save(file, values)
    # Half a pick more: its int() of fraction * nodes must not lose one to rounding.
    fraction = (picks + 0.5) / len(scores)
    seconds, chosen = _quietly(lambda: released.iterative_selection(*files, fraction))
    return seconds, chosen.tolist()


def _padded(graph: KnnGraph) -> Lists:
    width = int(graph.degrees.max())
    neighbours = np.repeat(np.arange(graph.nodes)[:, None], width, axis=1)
    distances = np.full(neighbours.shape, np.inf)
    there = np.arange(width) < graph.degrees[:, None]
    neighbours[there], distances[there] = graph.indices, graph.distances
    return neighbours, distances


def _arguments(**given: Any) -> SimpleNamespace:
    modes = {"graph_mode": "sum", "graph_sampling_mode": "weighted", "n_neighbor": NEIGHBOURS}
    return SimpleNamespace(**(modes | {"precomputed_dists": None, "precomputed_neighbors": None} | given))


def _released_module(file: Path) -> ModuleType:
    """Run one file of the released code.

    Where progress bars or data frames are absent, which these files import and what is called here does not use, stubs
    stand in; for scikit-learn, too, and then the dense path is not run. Taken by its file, `sampling` comes without
    the package around it, which imports torchvision, data sets and models.
    """
    spec = importlib.util.spec_from_file_location(f"released_{file.stem}", file)
    if spec is None or spec.loader is None or not file.is_file():
        sys.exit(f"{file} is not there: --released takes a clone of github.com/adymaharana/d2pruning")
    module = importlib.util.module_from_spec(spec)
    absent = [name for name in IMPORTED if importlib.util.find_spec(name.partition(".")[0]) is None]
    sys.modules.update({name: MagicMock() for name in absent})
    spec.loader.exec_module(module)
    for name in absent:
        del sys.modules[name]
    return module


def _quietly(work: Callable[[], Any]) -> tuple[float, Any]:
    with redirect_stdout(io.StringIO()):
        started = time.perf_counter()
        result = work()
        return time.perf_counter() - started, result


def _timed(function: Callable[..., Any], taken: list[float]) -> Callable[..., Any]:
    def run(*given: Any, **named: Any) -> Any:
        started = time.perf_counter()
        result = function(*given, **named)
        taken.append(time.perf_counter() - started)
        return result

    return run


def _stage(name: str, nodes: int, picks: int, released: float, ours: float) -> Row:
    seconds = {"released": round(released, 4), "ours": round(ours, 4), "ratio": round(released / ours, 1)}
    return {"stage": name, "nodes": nodes, "picks": picks, **seconds}


def _common(ours: npt.NDArray[np.int64], theirs: list[int]) -> Row:
    """Compare as sets: the released class returns no order."""
    shared = len(set(ours.tolist()) & {int(pick) for pick in theirs})
    return {"same picks": f"{shared:,} of {len(ours):,}"}


if __name__ == "__main__":
    raise SystemExit(main())
