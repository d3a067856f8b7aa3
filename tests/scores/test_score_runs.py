"""Each scorer in a run, against a plain computation over the whole pool."""

import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pools import metadata_config, tar_config

from filtering.core.csr import KnnGraph
from filtering.embedding.artifacts import unit_rows
from filtering.scores.combination import mid_ranks, minmax, over_mean, zscores
from filtering.scores.distances import same_class_distances
from filtering.scores.neg_clip_loss import batch_numbers, neg_clip_losses

TOLERANCE = 2e-3


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("scores") / "run"


@pytest.fixture
def scored(run, metadata_pool, folder):
    """Run a selection of everything by a score and return what is kept, in the order of the pool's uids."""

    def start(score, **sections):
        run(metadata_config(metadata_pool, folder, selection={"method": "all", "score": score}, **sections))
        parts = [pq.read_table(path) for path in sorted((folder / "manifest/kept").glob("*.parquet"))]
        return pa.concat_tables(parts).sort_by("uid")

    return start


@pytest.fixture(scope="module")
def pool(metadata_pool):
    """Uids in order, and their vectors."""
    uids, images, texts = [], [], []
    for path in sorted(metadata_pool.glob("*.parquet")):
        uids += pq.read_table(path)["uid"].to_pylist()
        arrays = np.load(path.with_suffix(".npz"))
        images.append(arrays["l14_img"])
        texts.append(arrays["l14_txt"])
    order = np.argsort(uids)
    vectors = [unit_rows(np.concatenate(parts)[order]) for parts in (images, texts)]
    return np.array(uids, dtype="S32")[order], *vectors


def values(found):
    return found["score"].to_numpy().astype(np.float64)


@pytest.mark.parametrize("batch_size", [100_000, 200])
def test_neg_clip_loss_is_the_mean_over_random_batches(scored, pool, batch_size):
    uids, images, texts = pool
    found = scored({"neg_clip_loss": {"batch_size": batch_size, "batchings": 3, "seed": 4}})
    assert found["uid"].to_pylist() == [uid.decode() for uid in uids]
    batches = max(1, round(len(uids) / batch_size))
    expected = np.zeros(len(uids))
    for batching in range(3):
        number = batch_numbers(uids, batches, 4 + batching)
        for batch in range(batches):
            here = number == batch
            expected[here] += neg_clip_losses(images[here], texts[here], 0.01) / 3
    assert np.allclose(values(found), expected, atol=TOLERANCE)


def test_prototypicality_is_the_distance_to_the_concepts_centroid(scored, pool):
    found = scored("prototypicality")
    concept, images = found["concept"].to_numpy(), pool[1]
    for number in np.unique(concept):
        here = concept == number
        mean = images[here].mean(axis=0)
        plain = 1 - images[here] @ (mean / np.linalg.norm(mean))
        # Centroids were trained on a sample and not moved to all members: nearly, not exactly, their mean.
        assert np.corrcoef(values(found)[here], plain)[0, 1] > 0.9


def test_sds_is_the_mean_distance_to_neighbours_of_the_concept(scored, pool, folder):
    found = scored("sds", graph={"k": 5, "recall": 1.0, "mean_replicas": 12.0})
    concept, images = found["concept"].to_numpy(), pool[1]
    for number in np.unique(concept):
        here = np.flatnonzero(concept == number)
        apart = np.sqrt(np.maximum(2 - 2 * images[here] @ images[here].T, 0))
        np.fill_diagonal(apart, np.inf)
        nearest = np.sort(apart, axis=1)[:, :5].mean(axis=1)
        # Neighbours in other concepts take places among a row's k, so that fewer than k may be of its own.
        assert np.corrcoef(values(found)[here], nearest)[0, 1] > 0.7
    assert isinstance(same_class_distances(KnnGraph([0, 0], [], []), 5), np.ndarray)


def test_norm_sim_and_image_based_compare_with_targets(scored, pool, tmp_path):
    images = pool[1]
    np.save(tmp_path / "targets.npy", images[:3])
    targets = {"targets": str(tmp_path / "targets.npy")}
    # A run lists the file, checks it and reads it: all three take the same part of the URL for its path.
    (tmp_path / "of#two").mkdir()
    np.savez(tmp_path / "of#two/targets.npz", **{"array#1#a": images[:3]})
    for one in (targets, {"targets": f"{tmp_path}/of#two/targets.npz#array#1#a"}):
        found = scored({"norm_sim": one})
        assert np.allclose(values(found), np.abs(images @ images[:3].T).max(axis=1), atol=TOLERANCE)
    found = scored({"image_based": targets})
    concept = found["concept"].to_numpy()
    assert (values(found) == np.isin(concept, concept[:3])).all()


@pytest.mark.slow
@pytest.mark.parametrize("by", ["rank", "zscore", "minmax", "mean"])
def test_a_combination_is_the_weighted_sum_on_one_scale(scored, by):
    first, second = (values(scored(name)) for name in ("clip_score", "prototypicality"))
    found = scored(
        {
            "combine": {
                "of": [{"score": "clip_score", "weight": 2}, {"score": "prototypicality", "weight": -0.5}],
                "by": by,
            }
        }
    )

    def scaled(part):
        between = minmax(part, part.min(), part.max())
        ways = {"zscore": zscores(part, part.mean(), part.std()), "minmax": between}
        return ways.get(by, mid_ranks(part) if by == "rank" else over_mean(between, between.mean()))

    assert np.allclose(values(found), 2 * scaled(first) - 0.5 * scaled(second), atol=TOLERANCE)


@pytest.mark.slow
def test_z_scores_of_values_far_from_zero_are_those_of_their_differences(scored, pool, tmp_path):
    uids, seconds = pool[0].astype(str), np.random.default_rng(1).uniform(0, 10, len(pool[0]))
    pq.write_table(pa.table({"uid": uids, "s": seconds + 1.7e9}), tmp_path / "seconds.parquet")
    table = {"table": str(tmp_path / "seconds.parquet"), "column": "s"}
    found = scored({"combine": {"of": [{"score": table, "weight": 1}], "by": "zscore"}})
    assert np.allclose(values(found), zscores(seconds, seconds.mean(), seconds.std()), atol=1e-5)


@pytest.mark.slow
def test_clip_powered_is_its_closed_form(scored):
    sas, sds, found = (values(scored(name)) for name in ("sas", "sds", "clip_powered"))
    parts = [minmax(part, part.min(), part.max()) for part in (sas, sds)]
    plain = parts[0] / parts[0].mean() + 0.1 * parts[1] / parts[1].mean()
    assert np.allclose(found, plain, atol=TOLERANCE)


def test_metaclip_keeps_the_tail_of_rare_entries(run, metadata_pool, tmp_path, scored):
    captions = [text for path in metadata_pool.glob("*.parquet") for text in pq.read_table(path)["text"].to_pylist()]
    words = sorted({word for caption in captions for word in caption.lower().split()})
    (tmp_path / "entries.txt").write_text("\n".join(words))
    found = scored({"metaclip": {"entries": str(tmp_path / "entries.txt")}})
    assert (values(found) > np.finfo(np.float32).min).all()
    nothing = tmp_path / "nothing.txt"
    nothing.write_text("zzzzzz")
    assert (values(scored({"metaclip": {"entries": str(nothing)}})) == np.finfo(np.float32).min).all()


def test_training_dynamics_of_a_table(scored, pool, tmp_path):
    uids = [uid.decode() for uid in pool[0]]
    pq.write_table(pa.table({"uid": uids, "aum": np.arange(len(uids), dtype=float)}), tmp_path / "dynamics.parquet")
    found = scored({"aum": {"table": str(tmp_path / "dynamics.parquet")}})
    assert values(found).tolist() == [-float(at) for at in range(len(uids))]


@pytest.fixture
def tar_again(tar_run, tmp_path):
    """A finished run over `tar_pool` that another may go on from: its pictures are embedded."""
    return shutil.copytree(tar_run, tmp_path / "run")


@pytest.mark.usefixtures("cluster")
def test_dlc_scores_every_picture_of_a_pool_of_tars(run, tar_pool, tar_run, tar_again, tmp_path):
    selection = {"method": "flexrand", "score": {"dlc": {"masks": 4}}, "keep": 0.5}
    # On Ray: where the pictures are embedded already, so that the scorer is its only model.
    record = run(tar_config(tar_pool, tar_again, selection=selection, ray={"address": "auto", "num_cpus": 1}))
    assert record["totals"]["kept"] == 30
    again = run(tar_config(tar_pool, shutil.copytree(tar_run, tmp_path / "again"), selection=selection))
    assert again["manifest_hash"] == record["manifest_hash"]


@pytest.mark.slow
def test_targets_may_be_a_folder_of_pictures(run, tar_pool, tar_again, tmp_path):
    from pools import picture

    folder = tmp_path / "targets"
    folder.mkdir()
    for seed in range(3):
        (folder / f"{seed}.jpg").write_bytes(picture(seed))
    selection = {"method": "all", "score": {"norm_sim": {"targets": str(folder)}}}
    run(tar_config(tar_pool, tar_again, selection=selection))
    kept = pa.concat_tables([pq.read_table(path) for path in (tar_again / "manifest/kept").glob("*.parquet")])
    best = kept.sort_by([("score", "descending")])[:3]
    # The first shard's first pictures are the targets themselves.
    assert sorted(best["key"].to_pylist()) == [f"{0:05d}{at:07d}" for at in range(3)]
    assert min(best["score"].to_pylist()) > 0.99
