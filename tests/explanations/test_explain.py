"""Explanations of finished runs: of every outcome, of every method."""

import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pools import Silent, member, metadata_config, tar_config, write_metadata, write_tar

from filtering.cli.explain import explain_lines
from filtering.config.run import parse_config
from filtering.core.errors import DamagedError, InputError
from filtering.explanations import explain
from filtering.pipeline import run as pipeline
from filtering.storage.store import Store


def lines_of(folder, kind):
    return pq.read_table(folder / f"manifest/{kind}").to_pylist()


@pytest.fixture(scope="module")
def tars(tmp_path_factory):
    """Two shards that use the same keys; in the first a picture is damaged."""
    folder = tmp_path_factory.mktemp("keys")
    for shard in range(2):
        samples = [member(f"{at:04d}", 100 * shard + at) for at in range(12)]
        if shard == 0:
            samples.append([("broken.jpg", b"no picture"), ("broken.txt", b"a caption")])
        write_tar(folder / f"{shard:05d}.tar", [part for sample in samples for part in sample])
    return folder


@pytest.fixture(scope="module")
def tar_why(tars, tmp_path_factory):
    folder = tmp_path_factory.mktemp("why") / "run"
    filters = [{"clip_score": {"keep": 0.8}}]
    pipeline.run(parse_config(tar_config(tars, folder, filters=filters, concepts={"clusters": 1})), Silent())
    return folder


@pytest.fixture(scope="module")
def d2_run(metadata_pool, tmp_path_factory):
    folder = tmp_path_factory.mktemp("why-d2") / "run"
    selection = {"method": "d2", "keep": 0.4, "gamma_reverse": 2.0}
    pipeline.run(parse_config(metadata_config(metadata_pool, folder, selection=selection)), Silent())
    return folder


def test_a_quarantined_sample(tar_why):
    for name in ("broken", "broken.jpg", "00000/broken", "00000.tar/broken"):
        found = explain(str(tar_why), name)
        assert (found["outcome"], found["reason"]) == ("quarantined", "image_undecodable")
        assert "quarantined, image_undecodable" in explain_lines(found)[0]


def test_edges_that_no_graph_has_are_named(d2_run, tmp_path):
    run = shutil.copytree(d2_run, tmp_path / "run")
    for path in run.glob("stages/graph-*/*.graph.npz"):
        store = Store(str(path.parent))
        arrays = store.read_arrays(path.name)
        longer = np.arange(len(arrays["distances"]), dtype=np.float32)
        store.write_arrays(path.name, arrays | {"distances": arrays["distances"] + longer})
    uid = next(line["uid"] for line in lines_of(run, "dropped") if line["reason"].startswith("selection"))
    with pytest.raises(DamagedError, match=r"\.graph\.npz: is damaged: graph: not symmetric"):
        explain(str(run), uid)


def test_a_sample_that_a_filter_left_out(tar_why):
    line = next(line for line in lines_of(tar_why, "dropped") if line["reason"] == "filter:clip_score")
    found = explain(str(tar_why), line["uid"])
    assert found["filter"]["has"]["clip_score"] < found["filter"]["asks"]["threshold"]
    assert found["filter"]["asks"]["keep"] == 0.8
    assert "is below" in explain_lines(found)[0]


def test_a_key_of_several_shards_is_refused_with_their_names(tar_why):
    with pytest.raises(InputError, match=r"2 shards have a sample 0003; say which one: 00000.tar/0003, 00001.tar/0003"):
        explain(str(tar_why), "0003")
    assert explain(str(tar_why), "00001/0003")["shard"].endswith("00001.tar")


def test_shards_of_one_name_are_told_apart_by_their_folders(run, tmp_path):
    for number, name in enumerate(("cc3m", "cc12m")):
        (tmp_path / name).mkdir()
        samples = [member(f"{at:04d}", 100 * number + at) for at in range(4)]
        write_tar(tmp_path / name / "00000.tar", [part for sample in samples for part in sample])
    run(tar_config([f"{tmp_path}/cc3m", f"{tmp_path}/cc12m"], tmp_path / "run", concepts={"clusters": 1}))
    for name in ("0002", "00000/0002", "00000.tar/0002"):
        with pytest.raises(InputError, match=r"say which one: cc3m/00000\.tar/0002, cc12m/00000\.tar/0002$"):
            explain(str(tmp_path / "run"), name)
    for shard in ("cc12m/00000.tar", "cc12m/00000", f"{tmp_path}/cc12m/00000.tar"):
        found = explain(str(tmp_path / "run"), f"{shard}/0002")
        assert (found["shard"], found["key"]) == (f"{tmp_path}/cc12m/00000.tar", "0002")
        assert explain(str(tmp_path / "run"), found["uid"].upper())["uid"] == found["uid"]


def test_what_is_not_there_is_refused(tar_why):
    for name in ("\udcff", "00000/\udcff"):
        with pytest.raises(InputError, match=r"has no sample .*; names of samples are UTF-8"):
            explain(str(tar_why), name)
    with pytest.raises(InputError, match="has no sample nothing; give a uid, a key, SHARD/KEY, or the URL of"):
        explain(str(tar_why), "nothing")
    with pytest.raises(InputError, match="no shard 0001; did you mean 00001"):
        explain(str(tar_why), "0001/0003")
    with pytest.raises(InputError, match="holds no finished run"):
        explain(f"{tar_why}-other", "0003")


def test_a_sample_is_found_by_the_name_of_its_picture(tar_why):
    for name in ("00001/0003.jpg", "00001.tar/0003.txt"):
        assert explain(str(tar_why), name) == explain(str(tar_why), "00001/0003")


def test_a_sample_is_found_by_the_url_of_its_image(run, tmp_path):
    pool = write_metadata(tmp_path / "pool", [30])
    run(metadata_config(pool, tmp_path / "run"))
    found = explain(str(tmp_path / "run"), "http://example.org/7")
    assert found["caption"] == "caption 7 of file 0"
    with pytest.raises(InputError, match=r"has no sample http://example\.org/30; give a uid"):
        explain(str(tmp_path / "run"), "http://example.org/30")


def test_a_url_of_several_samples_is_refused_with_their_uids(d2_run):
    with pytest.raises(InputError, match=r"samples have the URL http://example\.org/7; give a uid: [0-9a-f]{32}, "):
        explain(str(d2_run), "http://example.org/7")


def test_a_kept_sample_of_d2(d2_run):
    for line in lines_of(d2_run, "kept")[:20]:
        found = explain(str(d2_run), line["uid"])
        step = found["step"]
        assert (found["outcome"], step["rank"], step["method"]) == ("kept", line["rank"], "d2")
        assert found["concept"]["concept"] == line["concept"]
        assert step["value"] == pytest.approx(line["score"])
        # Whatever was picked was worth at least what the last pick was.
        assert step["messages"]["left"] >= step["messages"]["last_pick"] - 1e-9
        assert f"pick {line['rank'] + 1}" in explain_lines(found)[0]


@pytest.mark.slow
def test_a_dropped_sample_of_d2(d2_run):
    pushed = 0
    for line in lines_of(d2_run, "dropped")[:40]:
        found = explain(str(d2_run), line["uid"])
        step, messages = found["step"], found["step"]["messages"]
        assert (found["outcome"], step["rank"]) == ("dropped", None)
        assert step["picked"] == step["budget"] < step["candidates"]
        assert messages["left"] == pytest.approx(messages["heard"] - messages["taken"], abs=1e-9)
        assert messages["left"] <= messages["last_pick"] + 1e-9
        assert all(push["kept"] for push in messages["pushes"])
        pushed += messages["heard"] > messages["last_pick"]
        if messages["heard"] > messages["last_pick"]:
            assert f"{messages['pushes'][0]['key']}, already covers it" in found["verdict"]
    assert pushed


def test_neighbours_are_the_graphs(d2_run):
    kept = {line["uid"]: line["rank"] for line in lines_of(d2_run, "kept")}
    for line in lines_of(d2_run, "dropped")[:10]:
        neighbours = explain(str(d2_run), line["uid"])["neighbours"]
        cosines = [one["cosine"] for one in neighbours]
        assert len(neighbours) >= 5 - 1
        assert cosines == sorted(cosines, reverse=True)
        assert all(one["rank"] == kept.get(one["uid"]) for one in neighbours)


def test_the_answer_is_json(d2_run):
    json.dumps(explain(str(d2_run), lines_of(d2_run, "kept")[0]["uid"]))


@pytest.mark.slow
@pytest.mark.parametrize("keys", [{"variant": "novelty", "score": "uniform"}, {"variant": "paper"}], ids=str)
def test_a_sample_of_a_concept_without_a_budget_is_explained_in_strict_json(run, metadata_pool, tmp_path, keys):
    selection = {"method": "d2", "keep": 3, **keys}
    run(metadata_config(metadata_pool, tmp_path / "run", selection=selection))
    dropped = [explain(str(tmp_path / "run"), line["uid"]) for line in lines_of(tmp_path / "run", "dropped")[:40]]
    bare = [found for found in dropped if not found["step"]["picked"]]
    assert bare
    for found in bare:
        assert found["verdict"] == "its concept got no budget from d2"
        assert "nan" not in " ".join(explain_lines(found)).lower().split()
    for found in dropped:
        json.dumps(found, allow_nan=False)


STEPS = {
    "rounds": {"method": "d2", "keep": 0.3, "rounds": 2},
    "strata": {"method": "d2", "keep": 0.3, "budget": "strata"},
    "top": {"method": "top", "keep": 0.3},
    "random": {"method": "random", "keep": 0.3},
    "semdedup": {"method": "semdedup", "epsilon": 0.3},
    "threshold": {"method": "threshold", "threshold": 0.8},
    "moderate": {"method": "moderate", "keep": 0.3},
    "two steps": {"steps": [{"method": "semdedup", "epsilon": 0.3}, {"method": "d2", "variant": "paper", "keep": 0.5}]},
    "sets": {"steps": [{"all": ["good", "drawn"]}, {"method": "d2", "variant": "paper", "keep": 0.5}]},
    "union": {"steps": [{"any": ["good", "drawn"]}]},
}
NAMED = {"good": {"method": "top", "keep": 0.7}, "drawn": {"method": "random", "keep": 0.7}}


@pytest.mark.slow
@pytest.mark.parametrize("name", STEPS)
def test_every_method_is_explained(run, metadata_pool, d2_run, name):
    # In one folder: what comes before selection is computed once.
    selections = NAMED if name in ("sets", "union") else {}
    run(metadata_config(metadata_pool, d2_run, selection=STEPS[name], selections=selections))
    lines = lines_of(d2_run, "dropped")
    reasons = {line["reason"]: line for line in lines}
    for line in [*reasons.values(), *lines_of(d2_run, "kept")[:2]]:
        found = explain(str(d2_run), line["uid"])
        assert found["outcome"] == ("dropped" if "reason" in line else "kept")
        assert found["verdict"]
        assert (found["step"]["rank"] is None) == ("reason" in line)
        assert explain_lines(found)
    messages = found["step"]["messages"]
    assert (messages is None) == (name not in ("two steps", "sets"))


def test_semdedup_names_the_sample_that_stays(run, tmp_path):
    pool = tmp_path / "pool"
    pool.mkdir()
    random = np.random.default_rng(0)
    vectors = random.normal(size=(40, 16))
    vectors[20:] = vectors[:20]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    uids = [f"{at:032x}" for at in range(40)]
    columns = {"uid": uids, "text": ["a caption"] * 40, "clip_l14_similarity_score": pa.array([0.3] * 40, pa.float32())}
    pq.write_table(pa.table(columns), pool / "0.parquet")
    half = vectors.astype(np.float16)
    np.savez(pool / "0.npz", l14_img=half, l14_txt=half)
    selection = {"method": "semdedup", "epsilon": 0.01}
    run(metadata_config(pool, tmp_path / "run", selection=selection, concepts={"clusters": 1}))
    dropped = lines_of(tmp_path / "run", "dropped")
    assert len(dropped) == 20
    for line in dropped:
        twin = uids[(int(line["uid"], 16) + 20) % 40]
        found = explain(str(tmp_path / "run"), line["uid"])
        assert found["neighbours"][0]["uid"] == twin
        assert f"it looks like {found['neighbours'][0]['key']}" in found["verdict"]


def test_hostile_captions_cannot_steer_a_terminal(run, tmp_path):
    pool = tmp_path / "pool"
    pool.mkdir()
    write_tar(
        pool / "0.tar",
        [part for at in range(6) for part in member(f"{at}", at, b"red \x1b[31m\x07 text\r\nmore \xe2\x80\xae" * 9)],
    )
    run(tar_config(pool, tmp_path / "run"))
    text = "\n".join(explain_lines(explain(str(tmp_path / "run"), "3")))
    assert "red" in text
    assert text.replace("\n", "").isprintable()
