"""D2's released code, stage by stage, against this package on the same graph.

Its sampling takes distances in a dense class or in files of precomputed neighbours; its script for DataComp reads such
files as well.
"""

import importlib.util
import io
import sys
import tempfile
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

from benchmarks.lib.tables import Row
from benchmarks.lib.timing import best_seconds, seconds_of, timed
from filtering.core.csr import symmetrised
from filtering.graph import KnnGraph, knn_graph
from filtering.graph.knn import nearest_neighbours
from filtering.selection import d2

# Neighbours and distances, (n, k) each.
Lists = tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]
Scores = npt.NDArray[np.float64]

NEIGHBOURS = 10
# The released dense path: a float32 matrix of distances and a float64 one of weights.
DENSE_BYTES_A_PAIR = 12
# Imports of the released files that this project does not install.
IMPORTED = ("tqdm", "pandas", "sklearn", "sklearn.neighbors", "sklearn.metrics")


def points(nodes: int) -> tuple[npt.NDArray[np.float32], Scores]:
    """Return random unit vectors, float32 (n, 64), and scores, float64 (n,), in [0, 1)."""
    random = np.random.default_rng(0)
    vectors = random.standard_normal((nodes, 64), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors, random.random(nodes)


def compare_with_released(path: Path, nodes: int, picks: int, dense_nodes: int) -> list[Row]:
    """Compare the three paths of the released code, each at a size it can run at."""
    full, dense = (DENSE_BYTES_A_PAIR * size**2 / 1e9 for size in (nodes, dense_nodes))
    print(f"\nreleased: dense path at {dense_nodes:,} nodes ({dense:.1f} GB; {full:.0f} GB at {nodes:,}),", end=" ")
    print(f"precomputed neighbours and the DataComp script at {nodes:,}; one thread, Euclidean distances")
    faiss.omp_set_num_threads(1)
    with threadpool_limits(1):
        rows = _precomputed(path, nodes, picks)
        if importlib.util.find_spec("sklearn") is None:
            print("dense path skipped: it needs scikit-learn, uv pip install --editable '.[dev]'")
            return rows
        return _dense(path, dense_nodes, picks * dense_nodes // nodes) + rows


def _dense(path: Path, nodes: int, picks: int) -> list[Row]:
    """Its class over all pairs. Construction is what it spends in scikit-learn, forward the rest of its constructor."""
    vectors, scores = points(nodes)
    released = _released_module(path / "core/data/sampling.py")
    searching: list[float] = []
    for name in ("pairwise_distances", "kneighbors_graph"):
        setattr(released, name, _noting(getattr(released, name), searching))
    made = released.GraphDensitySampler
    building, sampler = _timed_quietly(lambda: made(vectors, None, 0, 1.0, scores, _arguments()))
    selecting, chosen = _timed_quietly(lambda: sampler.select_batch_(picks))
    constructing = seconds_of(lambda: knn_graph(vectors, NEIGHBOURS))
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
    vectors, scores = points(nodes)
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


def _our_stages(graph: KnnGraph, scores: Scores, picks: int) -> tuple[float, float, npt.NDArray[np.int64]]:
    messages = d2.forward_messages(graph, scores)
    forward = best_seconds(lambda: d2.forward_messages(graph, scores))
    selection = best_seconds(lambda: d2.greedy_picks(graph, messages, picks))
    return forward, selection, d2.greedy_picks(graph, messages, picks)


def _run_sampler(
    released: ModuleType, folder: Path, lists: Lists, scores: Scores, picks: int
) -> tuple[float, float, list[int]]:
    files = {"precomputed_neighbors": folder / "neighbours.npy", "precomputed_dists": folder / "distances.npy"}
    # It leaves out the first column, where a search finds the point itself.
    for file, values in zip(files.values(), lists, strict=True):
        np.save(file, np.concatenate([values[:, :1], values], axis=1))
    arguments = _arguments(n_neighbor=lists[0].shape[1], **files)
    # It asks a torch tensor for its array.
    tensor = SimpleNamespace(numpy=lambda: scores)
    forward, sampler = _timed_quietly(lambda: released.GraphDensitySampler(None, None, 0, 1.0, tensor, arguments))
    return forward, *_timed_quietly(lambda: sampler.select_batch_(picks))


def _run_script(
    released: ModuleType, folder: Path, lists: Lists, messages: Scores, scores: Scores, picks: int
) -> tuple[float, list[int]]:
    files = [str(folder / f"{name}.npy") for name in ("messages", "neighbours", "scores", "distances")]
    for file, values in zip(files, (messages, lists[0], scores, lists[1]), strict=True):
        np.save(file, values)
    # Half a pick more: its int() of fraction * nodes must not lose one to rounding.
    fraction = (picks + 0.5) / len(scores)
    seconds, chosen = _timed_quietly(lambda: released.iterative_selection(*files, fraction))
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


def _timed_quietly(work: Callable[[], Any]) -> tuple[float, Any]:
    with redirect_stdout(io.StringIO()):
        return timed(work)


def _noting(function: Callable[..., Any], taken: list[float]) -> Callable[..., Any]:
    """Return the function, which then also notes the seconds of each call."""

    def run(*given: Any, **named: Any) -> Any:
        seconds, result = timed(lambda: function(*given, **named))
        taken.append(seconds)
        return result

    return run


def _stage(name: str, nodes: int, picks: int, released: float, ours: float) -> Row:
    seconds = {"released": round(released, 4), "ours": round(ours, 4), "ratio": round(released / ours, 1)}
    return {"stage": name, "nodes": nodes, "picks": picks, **seconds}


def _common(ours: npt.NDArray[np.int64], theirs: list[int]) -> Row:
    """Compare as sets: the released class returns no order."""
    shared = len(set(ours.tolist()) & {int(pick) for pick in theirs})
    return {"same picks": f"{shared:,} of {len(ours):,}"}
