"""`centred_score`, `neighbour_agreement` and `right` in a run, against plain computations over the whole pool."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pools import metadata_config, write_metadata

from filtering.core.uids import hashed, random_order
from filtering.embedding.artifacts import unit_rows
from filtering.scores.agreement import SAME_CAPTION
from filtering.scores.right import FEWEST_PAIRS, calibrated, cross_fitted, trained

TOLERANCE = 2e-3
K, TEXT_K = 4, 6
# One concept: a search that finds every neighbour.
EXACT = {"graph": {"k": K, "text_k": TEXT_K}, "concepts": {"clusters": 1}}


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    return write_metadata(tmp_path_factory.mktemp("pairs") / "pool", [120, 90, 150], seed=3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("scored") / "run"


@pytest.fixture(scope="module")
def vectors(pool):
    """Uids in order, and the unit vectors of images and captions."""
    uids, images, texts = [], [], []
    for path in sorted(pool.glob("*.parquet")):
        uids += pq.read_table(path)["uid"].to_pylist()
        arrays = np.load(path.with_suffix(".npz"))
        images.append(arrays["l14_img"])
        texts.append(arrays["l14_txt"])
    order = np.argsort(uids)
    sides = [unit_rows(np.concatenate(parts)[order]) for parts in (images, texts)]
    return np.array(uids, dtype="S32")[order], *sides


@pytest.fixture
def scored(run, pool, folder):
    """Score the pool; return the scores in the order of uids, and run.json."""

    def start(score):
        run(metadata_config(pool, folder, selection={"method": "all", "score": score}, **EXACT))
        kept = pa.concat_tables([pq.read_table(path) for path in (folder / "manifest/kept").glob("*.parquet")])
        record = json.loads((folder / "run.json").read_text())
        return kept.sort_by("uid")["score"].to_numpy().astype(np.float64), record

    return start


def mean_of_neighbours(near, averaged, k, limit):
    """The mean vector of the k nearest rows of one side, those left out that repeat the row itself; by loops."""
    means, medians = [], []
    for row in range(len(near)):
        apart = ((near - near[row]) ** 2).sum(axis=1)
        apart[row] = np.inf
        nearest = np.argsort(apart, kind="stable")[:k]
        medians += apart[nearest].tolist()
        left = [averaged[one] for one in nearest if ((averaged[one] - averaged[row]) ** 2).sum() > limit]
        means.append(np.mean(left, axis=0) if left else np.zeros(near.shape[1]))
    return np.array(means)


def median_edge(images, k):
    """The median squared length of the edges of the graph of images: each pair once, if either chose the other."""
    edges = {}
    for row in range(len(images)):
        apart = ((images - images[row]) ** 2).sum(axis=1)
        apart[row] = np.inf
        edges |= {frozenset((row, one)): apart[one] for one in np.argsort(apart, kind="stable")[:k].tolist()}
    return np.median(list(edges.values()))


def test_the_centred_score_is_the_cosine_less_what_chance_gives(scored, vectors):
    _, images, texts = vectors
    cosines = images @ texts.T
    expected = np.diag(cosines) - (cosines.mean(axis=1) + cosines.mean(axis=0)) / 2
    found, record = scored("centred_score")
    assert np.allclose(found, expected, atol=TOLERANCE)
    assert not any(stage["name"].startswith("text_") for stage in record["stages"])


def test_no_batchings_are_the_closed_form(scored):
    centred, _ = scored("centred_score")
    found, record = scored({"neg_clip_loss": {"batchings": 0}})
    assert (found == centred).all()
    assert list(record["scores"]) == ["centred_score"]


def centred(first, second, first_mean, second_mean):
    """The cosine of each pair of rows less their means, by loops; 0 where one is nothing."""
    found = []
    for a, b in zip(first, second, strict=True):
        one, other = a - first_mean, b - second_mean
        found.append(one @ other / np.linalg.norm(one) / np.linalg.norm(other) if a.any() and b.any() else 0)
    return np.array(found)


def test_centred_cosines_are_those_of_vectors_less_the_pools_means(scored, vectors):
    _, images, texts = vectors
    found, _ = scored({"centred_score": {"form": "cosine"}})
    assert np.allclose(found, centred(images, texts, images.mean(axis=0), texts.mean(axis=0)), atol=TOLERANCE)


def neighbour_means(images, texts):
    """The mean captions of like images, and the mean images of like captions."""
    captions = mean_of_neighbours(images, texts, K, SAME_CAPTION)
    return captions, mean_of_neighbours(texts, images, TEXT_K, median_edge(images, K))


@pytest.mark.slow
def test_agreement_is_the_centred_cosine_with_the_neighbours_mean(scored, vectors):
    _, images, texts = vectors
    captions, pictures = neighbour_means(images, texts)
    found, record = scored("neighbour_agreement")
    assert np.allclose(found, centred(captions, texts, *[texts.mean(axis=0)] * 2), atol=TOLERANCE)
    assert not any(stage["name"].startswith("text_") for stage in record["stages"])
    found, record = scored({"neighbour_agreement": {"of": "captions"}})
    assert np.allclose(found, centred(pictures, images, *[images.mean(axis=0)] * 2), atol=TOLERANCE)
    assert {stage["name"] for stage in record["stages"]} >= {"text_concepts", "text_partitions", "text_graph"}
    assert record["text_graph"]["k"] == TEXT_K


@pytest.mark.slow
@pytest.mark.parametrize("neighbours", ["both", "images"])
def test_right_is_what_the_formulas_say(scored, vectors, neighbours):
    uids, images, texts = vectors
    captions, pictures = neighbour_means(images, texts)
    order, (image_mean, text_mean) = random_order(uids, 1), (images.mean(axis=0), texts.mean(axis=0))
    partner = np.empty_like(order)
    partner[order] = np.roll(order, -1)
    features = []
    for caption_of in (np.arange(len(uids)), partner):
        columns = [
            centred(images, texts[caption_of], image_mean, text_mean),
            centred(captions, texts[caption_of], text_mean, text_mean),
            centred(pictures[caption_of], images, image_mean, image_mean),
        ]
        features.append(np.stack(columns[: 3 if neighbours == "both" else 2], axis=1))
    observed, shuffled = features
    calibration = calibrated(*cross_fitted(observed, shuffled, hashed(uids, 2) % 2 == 0))
    expected = calibration.probabilities(trained(observed, shuffled).logits(observed))
    found, record = scored({"right": {"neighbours": neighbours}})
    assert np.quantile(np.abs(found - expected), 0.98) < 0.02
    figures = record["right"]["right"]
    assert figures["mismatched"] == pytest.approx(calibration.mismatched, abs=0.01)
    held_out = cross_fitted(observed, shuffled, hashed(uids, 2) % 2 == 0)
    assert figures["auc"] == pytest.approx(np.mean(held_out[0][:, None] > held_out[1]), abs=0.01)
    assert figures["pairs"] == len(uids) == sum(figures["observed"]) == sum(figures["shuffled"])
    assert sum(figures["sizes"]) == 2 * len(uids)
    assert len(figures["weights"]) == (12 if neighbours == "both" else 7)


@pytest.mark.slow
def test_another_graph_of_images_is_another_agreement_of_captions(run, pool, tmp_path):
    folders = []
    for k in (K, K + 3):
        sections = {"graph": EXACT["graph"] | {"k": k}, "concepts": EXACT["concepts"]}
        selection = {"method": "all", "score": {"neighbour_agreement": {"of": "captions"}}}
        record = run(metadata_config(pool, tmp_path / "run", selection=selection, **sections))
        folders.append(record["scores"]["neighbour_agreement of captions"])
        assert record["text_graph"]["k"] == TEXT_K
    # Which images are the same follows from the median edge of their graph.
    assert folders[0] != folders[1]


@pytest.mark.slow
def test_swapped_captions_are_less_probably_right(run, tmp_path):
    pool = write_metadata(tmp_path / "pool", [400, 300], seed=5)
    (first, *_) = sorted(pool.glob("*.npz"))
    arrays = dict(np.load(first))
    wrong = np.arange(0, len(arrays["l14_txt"]), 4)
    arrays["l14_txt"][wrong] = np.roll(arrays["l14_txt"][wrong], 1, axis=0)
    np.savez(first, **arrays)
    run(metadata_config(pool, tmp_path / "run", selection={"method": "all", "score": "right"}))
    kept = pa.concat_tables([pq.read_table(path) for path in (tmp_path / "run/manifest/kept").glob("*.parquet")])
    score = dict(zip(kept["uid"].to_pylist(), kept["score"].to_pylist(), strict=True))
    uids = pq.read_table(first.with_suffix(".parquet"))["uid"].to_pylist()
    p = np.array([score[uid] for uid in uids])
    assert p[wrong].mean() < np.delete(p, wrong).mean() - 0.3


def test_too_few_pairs_teach_nothing_and_a_warning_says_so(run, tmp_path):
    pool = write_metadata(tmp_path / "pool", [FEWEST_PAIRS - 1])
    record = run(metadata_config(pool, tmp_path / "run", selection={"method": "all", "score": "right"}))
    (warning,) = [line for line in record["warnings"] if "P(right)" in line]
    assert warning.startswith(f"{FEWEST_PAIRS - 1} samples are too few")
    kept = pq.read_table(next((tmp_path / "run/manifest/kept").glob("*.parquet")))
    assert set(kept["score"].to_pylist()) == {1.0}


@pytest.mark.slow
def test_one_pair_is_too_few(run, tmp_path):
    config = metadata_config(write_metadata(tmp_path / "pool", [1]), tmp_path / "run", concepts={"clusters": 1})
    record = run(config | {"selection": {"method": "all", "score": "right"}})
    assert "1 sample is too few to learn P(right) from: it counts as right; it takes 64" in record["warnings"]


@pytest.mark.slow
def test_captions_that_say_nothing_are_told_in_a_warning(run, tmp_path):
    pool = write_metadata(tmp_path / "pool", [90, 60])
    for path in pool.glob("*.npz"):
        arrays = dict(np.load(path))
        arrays["l14_txt"][:] = np.ones(arrays["l14_txt"].shape[1]) / 8
        np.savez(path, **arrays)
    selection = {"method": "all", "score": {"right": {"neighbours": "images"}}}
    record = run(metadata_config(pool, tmp_path / "run", selection=selection))
    (warning,) = [line for line in record["warnings"] if "P(right)" in line]
    assert warning.startswith("P(right) hardly tells the pool's pairs from shuffled ones (AUC 0.50")
    kept = [pq.read_table(path)["score"].to_pylist() for path in (tmp_path / "run/manifest/kept").glob("*.parquet")]
    assert len({score for scores in kept for score in scores}) == 1


@pytest.mark.slow
def test_an_empty_pool_is_scored(run, tmp_path):
    pool = write_metadata(tmp_path / "pool", [30])
    nothing = {"filters": [{"caption": {"min_words": 100}}]}
    selection = {"steps": [{"method": "all", "score": "centred_score"}, {"method": "all", "score": "right"}]}
    record = run(metadata_config(pool, tmp_path / "run", selection=selection, **nothing))
    assert record["totals"]["kept"] == 0


@pytest.mark.slow
def test_partitions_shards_and_their_order_do_not_change_the_scores(run, pool, tmp_path):
    found = []
    for at, (order, rows) in enumerate([(1, "auto"), (-1, 100)]):
        files = [str(path) for path in sorted(pool.glob("*.parquet"))][::order]
        config = metadata_config(
            pool,
            tmp_path / f"run-{at}",
            selection={"method": "all", "score": "right"},
            graph=EXACT["graph"],
            concepts={"partition_rows": rows, "clusters": 1},
        )
        config["input"]["metadata"] = files
        run(config)
        kept = pa.concat_tables([pq.read_table(p) for p in (tmp_path / f"run-{at}/manifest/kept").glob("*.parquet")])
        found.append(kept.sort_by("uid")["score"].to_pylist())
    assert found[0] == found[1]
