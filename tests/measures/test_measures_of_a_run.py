"""The measures of a run, recomputed plainly over the whole pool."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pools import metadata_config

from filtering.concepts.artifacts import read_queries
from filtering.core.csr import KnnGraph
from filtering.core.uids import sampled
from filtering.embedding.artifacts import unit_rows
from filtering.measures.artifacts import MEASURES
from filtering.measures.figures import (
    RandomFeatures,
    effective_concepts,
    matching_distance,
    mean_distance,
    nearest_distances,
    support_distances,
)
from filtering.measures.tasks import RANDOM_SEED
from filtering.storage.store import Store


def table(folder, kind):
    return pa.concat_tables([pq.read_table(path) for path in sorted((folder / "manifest" / kind).glob("*.parquet"))])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("measures") / "run"


@pytest.fixture
def measured(run, metadata_pool, folder):
    run(metadata_config(metadata_pool, folder, selection={"method": "d2", "variant": "paper", "keep": 0.25}))
    record = json.loads((folder / "run.json").read_text())
    return record["measures"], record["objects"]


@pytest.fixture(scope="module")
def pool(metadata_pool):
    uids, images = [], []
    for path in sorted(metadata_pool.glob("*.parquet")):
        uids += pq.read_table(path)["uid"].to_pylist()
        images.append(np.load(path.with_suffix(".npz"))["l14_img"])
    return np.array(uids, dtype="S32"), unit_rows(np.concatenate(images))


def masks(pool, folder):
    uids = pool[0]
    kept = np.isin(uids, np.array(table(folder, "kept")["uid"].to_pylist(), dtype="S32"))
    return {"selection": kept, "random": sampled(uids, kept.mean(), RANDOM_SEED)}


def test_coverage_is_the_distance_to_the_nearest_kept_sample(measured, pool, folder):
    measures, objects = measured
    queries = unit_rows(read_queries(Store(str(folder / objects["concepts"]))))
    assert len(queries) > 100
    for name, mask in masks(pool, folder).items():
        apart = np.linalg.norm(queries[:, None] - pool[1][mask][None], axis=2).min(axis=1)
        assert measures["coverage"][name] == pytest.approx(apart.mean(), abs=1e-3)


def test_matching_is_the_distance_of_means_over_random_networks(measured, pool, folder):
    measures, vectors = measured[0], pool[1]
    weights = RandomFeatures.of(vectors.shape[1]).weights
    for name, mask in masks(pool, folder).items():
        means = [np.square(vectors.mean(axis=0) - vectors[mask].mean(axis=0)).sum()]
        for network in np.split(weights, 2, axis=1):
            units = np.maximum(vectors @ network, 0)
            means.append(np.square(units.mean(axis=0) - units[mask].mean(axis=0)).mean())
        assert measures["matching"][name] == pytest.approx(np.mean(means), rel=1e-2)


def test_concepts_in_effect_and_spread_follow_from_the_tables(measured, folder):
    measures, objects = measured
    concept = table(folder, "kept")["concept"].to_numpy()
    shares = np.unique(concept, return_counts=True)[1] / len(concept)
    assert measures["effective_concepts"]["selection"] == pytest.approx(
        np.exp(-(shares * np.log(shares)).sum()), abs=1e-3
    )
    lines = Store(str(folder / objects["measures"])).read_table(MEASURES)
    assert sum(lines["size"].to_pylist()) == 1100
    counts = dict(zip(*(part.tolist() for part in np.unique(concept, return_counts=True)), strict=True))
    assert dict(zip(lines["concept"].to_pylist(), lines["kept"].to_pylist(), strict=True)) == counts
    assert 0 < measures["spread"]["selection"] < 2
    assert measures["without_kept_neighbour"]["selection"] <= measures["without_kept_neighbour"]["random"]


def test_the_nearest_of_blocks_is_the_nearest_of_all():
    random = np.random.default_rng(0)
    queries, vectors = (unit_rows(random.normal(size=(count, 6))) for count in (5, 40))
    choices, nearest = random.random((2, 40)) < 0.5, np.full((2, 5), np.inf, dtype=np.float32)
    for block in np.split(np.arange(40), 4):
        nearest = np.minimum(nearest, nearest_distances(queries, vectors[block], choices[:, block]))
    for choice, found in zip(choices, nearest, strict=True):
        apart = np.square(queries[:, None] - vectors[choice][None]).sum(axis=2).min(axis=1)
        assert np.allclose(found, apart, atol=1e-5)


def test_a_choice_of_nothing_is_infinitely_far():
    rows = unit_rows(np.random.default_rng(0).normal(size=(4, 6)))
    none = nearest_distances(rows, rows, np.array([[False] * 4, [True] * 4]))
    assert np.isinf(none[0]).all()
    assert np.allclose(none[1], 0, atol=1e-5)


def test_features_are_added_up_by_choice():
    rows = unit_rows(np.random.default_rng(0).normal(size=(30, 6)))
    choices = np.stack([np.ones(30, dtype=bool), np.arange(30) < 7, np.zeros(30, dtype=bool)])
    features = RandomFeatures.of(6)
    both = np.concatenate([rows, np.maximum(rows @ features.weights, 0)], axis=1).astype(np.float64)
    expected = [both[choice].sum(axis=0) for choice in choices]
    assert np.allclose(features.sums(rows, choices), expected, atol=1e-4)


def test_nothing_is_at_no_distance():
    assert mean_distance(np.full(3, np.inf, dtype=np.float32)) is None


def test_support_is_the_nearest_kept_neighbour():
    graph = KnnGraph([0, 2, 4, 6, 6], [1, 2, 0, 2, 0, 1], [1.0, 4.0, 1.0, 9.0, 4.0, 9.0])
    assert support_distances(graph, np.array([False, True, False, False])).tolist() == [1.0, 3.0, np.inf]
    assert support_distances(graph, np.ones(4, dtype=bool)).tolist() == []


def test_concepts_in_effect():
    assert effective_concepts(np.array([5, 5, 5, 0])) == pytest.approx(3)
    assert effective_concepts(np.array([9, 0])) == 1
    assert effective_concepts(np.array([0, 0])) == 0


def test_nothing_is_matched_with_nothing():
    assert matching_distance(np.zeros(130), 0, np.zeros(130), 0) is None
