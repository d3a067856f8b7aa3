"""Benchmarks of single algorithms over arrays: D2's selection, the graph, k-means."""

import pytest

from benchmarks.speed import d2_select, graph, kmeans

# Enough of the released code's interface to be compared with: D2 as a loop over dense lists.
RELEASED = """
import numpy as np
from sklearn.metrics import pairwise_distances
from sklearn.neighbors import kneighbors_graph


def greedy(messages, neighbours, distances, picks):
    left, order = np.array(messages, dtype=float), []
    for _ in range(picks):
        pick = int(np.argmax(left))
        order.append(pick)
        for other, far in zip(neighbours[pick], distances[pick]):
            left[other] -= np.exp(-far) * left[pick] if other != pick else 0
        left[pick] = -np.inf
    return order


class GraphDensitySampler:
    def __init__(self, X, y, seed, gamma, importance_scores, args):
        print("talks")
        if args.precomputed_neighbors is None:
            self.distances = pairwise_distances(X).astype(np.float32)
            connect = kneighbors_graph(X, args.n_neighbor)
            self.connect = connect.maximum(connect.T)
            self.neighbours = [row.indices for row in self.connect]
            self.far = [self.distances[at, row] for at, row in enumerate(self.neighbours)]
            scores = importance_scores
        else:
            self.neighbours = np.load(args.precomputed_neighbors)[:, 1:]
            self.far = np.load(args.precomputed_dists)[:, 1:]
            scores = importance_scores.numpy()
        rows = zip(self.neighbours, self.far)
        self.messages = [
            own + (np.exp(-far) * scores[near]).sum() for own, (near, far) in zip(scores, rows)
        ]

    def select_batch_(self, count):
        return greedy(self.messages, self.neighbours, self.far, count)
"""
SCRIPT = """
import numpy as np


def iterative_selection(messages, neighbours, scores, distances, fraction):
    order = np.argsort(-np.load(messages))
    return order[: int(fraction * len(np.load(scores)))]
"""


@pytest.mark.slow
def test_the_greedy_and_a_plain_loop_pick_the_same(measured, tmp_path):
    options = ("--nodes", 400, "--picks", 100, "--plot", tmp_path / "out.png")
    (row,), printed = measured(d2_select.main, *options)
    assert (row["nodes"], row["picks"], row["same_picks"]) == (400, 100, True)
    assert 400 * 5 <= row["edges"] <= 400 * 10
    assert min(row["select_seconds"], row["plain_loop_seconds"]) >= 0
    assert "ratio: " in printed
    assert (tmp_path / "out.png").stat().st_size > 0


@pytest.mark.slow
def test_the_released_code_is_compared_stage_by_stage(measured, tmp_path):
    (tmp_path / "core/data").mkdir(parents=True)
    (tmp_path / "core/data/sampling.py").write_text(RELEASED)
    (tmp_path / "select_d2_datacomp.py").write_text(SCRIPT)
    options = ("--nodes", 200, "--picks", 50, "--released", tmp_path, "--dense-nodes", 100)
    rows, printed = measured(d2_select.main, *options)
    stages = {row["stage"]: row for row in rows[1:]}
    assert [row["nodes"] for row in rows] == [200, 100, 100, 100, 200, 200, 200]
    assert stages["selection, dense"]["same picks"] == "25 of 25"
    assert stages["selection, precomputed"]["same picks"] == "50 of 50"
    assert stages["selection, DataComp script"]["same picks"].endswith("of 50")
    assert all(row["released"] >= 0 and row["ours"] >= 0 for row in stages.values())
    assert "talks" not in printed


def test_a_clone_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(SystemExit, match="--released takes a clone of"):
        d2_select.main(["--nodes", "100", "--picks", "10", "--released", str(tmp_path)])


@pytest.mark.slow
def test_concepts_with_replicas_are_compared_with_faiss(measured):
    rows, _ = measured(graph.main, "--rows", 3000, "--clusters", 12, "--recall", 0.9)
    found = {row["search"]: row for row in rows}
    assert list(found)[:2] == ["replicas by margin", "faiss IndexFlatL2"]
    assert any(name.startswith("faiss IndexHNSWFlat") for name in found)
    assert found["faiss IndexFlatL2"]["recall@10"] == 1
    assert found["faiss IndexFlatL2"]["of exact"] == 1
    assert 0.85 < found["replicas by margin"]["recall@10"] <= 1
    assert found["own concept alone"]["replicas a row"] == 0
    assert found["2 nearest concepts"]["replicas a row"] == 1
    reached = [found[f"{reach} nearest concepts"]["recall@10"] for reach in (2, 3, 4)]
    assert found["own concept alone"]["recall@10"] < reached[0] <= reached[1] <= reached[2]
    assert all(row["distances / N^2"] <= 1 and row["seconds"] > 0 for row in rows)


def test_kinds_of_products_find_the_same_neighbours(measured):
    kinds = ["bytes", "steps", "float32"]
    rows, _ = measured(graph.main, "--rows", 2500, "--clusters", 2, "--recall", 0.9, "--rounds", 1, "--kinds", *kinds)
    assert [row["products"] for row in rows] == kinds
    assert all(row["same neighbours"] for row in rows)


def test_the_graph_of_fashion_mnist_says_when_it_is_not_installed(tmp_path):
    with pytest.raises(SystemExit, match="apt-get install dataset-fashion-mnist"):
        graph.main(["--fashion-mnist", str(tmp_path)])


@pytest.mark.slow
def test_k_means_is_compared_with_faiss_and_scikit_learn(measured, tmp_path):
    options = ("--rows", 4000, "--clusters", 40, "--held-out", 100, "--plot", tmp_path / "out.png")
    rows, _ = measured(kmeans.main, *options)
    named = {row["measured"]: row for row in rows}
    trained = [row for row in rows if "training" in row]
    assert [row["training"] for row in trained] == [
        *("filtering, two levels", "faiss.Kmeans"),
        *("sklearn MiniBatchKMeans", "sklearn KMeans"),
    ]
    for row in trained:
        assert row["centroids"] == trained[0]["centroids"]
        assert 0.5 < row["mean cosine"] < 1
        assert row["largest / mean"] > 1
    assert named["assignment: faiss IndexFlatIP"]["true nearest"] == 1
    assert named["assignment: numpy, flat"]["of the 8 nearest"] > 0.999
    assert named["assignment: CentroidIndex"]["true nearest"] > 0.9
    assert named["assignment: CentroidIndex"]["of ours"] == 1
    assert (tmp_path / "out.png").stat().st_size > 0
