"""Concepts and graph from the vectors of one encoder, scores from those of another."""

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import timm
import torch
from PIL import Image
from pools import Silent, members, metadata_config, picture, tar_config, write_metadata, write_tar
from safetensors.torch import load_file
from small_encoders import timm_weights, torchscript

from filtering import explain, open_run
from filtering.concepts.artifacts import read_centroids
from filtering.config.run import parse_config
from filtering.core.errors import InputError
from filtering.pipeline.run import check, run
from filtering.planning.plan import plan
from filtering.runtime.finished_run import read_base
from filtering.storage.store import Store

OTHER = {"concepts": {"clusters": 12, "partition_rows": 700, "embedding": "b32_img"}}
SELECTION = {"selection": {"keep": 0.3, "variant": "paper", "score": "uniform"}}


@pytest.fixture(scope="module")
def datacomp(tmp_path_factory):
    return write_metadata(tmp_path_factory.mktemp("second") / "datacomp", [400, 300])


@pytest.fixture(scope="module")
def forms(datacomp):
    """The input of the same rows in each form, with a third vector for each."""
    laion, tables = datacomp.parent / "laion", datacomp.parent / "tables"
    for folder in (laion / "metadata", *(laion / name for name in ("img_emb", "text_emb", "b32_img")), tables):
        folder.mkdir(parents=True)
    for number, path in enumerate(sorted(datacomp.glob("*.parquet"))):
        arrays, found = np.load(path.with_suffix(".npz")), pq.read_table(path)
        np.save(laion / "img_emb" / f"img_emb_{number}.npy", arrays["l14_img"])
        np.save(laion / "text_emb" / f"text_emb_{number}.npy", arrays["l14_txt"])
        np.save(laion / "b32_img" / f"img_emb_{number}.npy", arrays["b32_img"])
        pq.write_table(found, laion / "metadata" / f"metadata_{number}.parquet")
        for name in ("l14_img", "l14_txt", "b32_img"):
            lists = pa.array(list(arrays[name].astype(np.float32)), pa.list_(pa.float32()))
            found = found.append_column(name, lists)
        pq.write_table(found, tables / path.name)
    return {
        "metadata": {"metadata": str(datacomp)},
        "clip_retrieval": {"clip_retrieval": str(laion)},
        "tables": {"tables": str(tables), "columns": {"image": "l14_img", "text": "l14_txt"}},
    }


def of_rows(source, output, **changes):
    return run(
        parse_config({**metadata_config("", output), "input": source, **SELECTION, **OTHER, **changes}), Silent()
    )


def test_every_form_of_rows_may_have_vectors_for_concepts(forms, datacomp, tmp_path):
    found = {key: of_rows(source, tmp_path / key) for key, source in forms.items()}
    assert len({record["manifest_hash"] for record in found.values()}) == 1
    store = Store(str(tmp_path / "metadata"))
    assert read_centroids(store.child(read_base(store).record["objects"]["concepts"])).vectors.shape[1] == 8
    # Where all scores are equal the graph decides, and it is that of a pool whose images have these vectors.
    arrays = {"metadata": str(datacomp), "arrays": {"image": "b32_img", "text": "b32_img"}}
    alone = of_rows(arrays, tmp_path / "alone", concepts={"clusters": 12, "partition_rows": 700})
    assert alone["manifest_hash"] == found["metadata"]["manifest_hash"]


def test_scores_are_those_of_the_other_vectors(forms, tmp_path):
    np.save(tmp_path / "targets.npy", np.random.default_rng(0).normal(size=(5, 32)).astype(np.float32))
    score = {"norm_sim": {"targets": str(tmp_path / "targets.npy")}}
    top = {"selection": {"keep": 0.3, "method": "top", "score": score}}
    concepts = {"with": {"clusters": 1, "embedding": "b32_img"}, "without": {"clusters": 1}}
    found = {
        of_rows(forms["metadata"], tmp_path / n, concepts=one, **top)["manifest_hash"] for n, one in concepts.items()
    }
    assert len(found) == 1
    for method in ("prototypicality", "right"):
        of_rows(forms["metadata"], tmp_path / method, selection={"keep": 0.3, "score": method, "method": "top"})


def test_a_vector_that_cannot_be_used_costs_its_row_and_another_dimension_its_file(datacomp, tmp_path):
    pool = tmp_path / "pool"
    write_metadata(pool, [40, 30, 20])
    paths = sorted(pool.glob("*.npz"))
    sizes = [len(np.load(path)["l14_img"]) for path in paths]
    for number, path in enumerate(paths[1:]):
        arrays = dict(np.load(path))
        if number:
            arrays["b32_img"][1] = np.nan
        else:
            arrays["b32_img"] = arrays["b32_img"][:, :4]
        np.savez(path, **arrays)
    record = of_rows({"metadata": str(pool)}, tmp_path / "run")
    reasons = record["reasons"]["quarantined"]
    assert reasons == {"arrays_mismatch": sizes[1], "embedding_not_finite": 1}


def test_a_name_that_is_not_there_is_refused_with_its_key(forms, tmp_path):
    for source, line in (
        ("metadata", r"concepts\.embedding: .* has no array dino; it has"),
        ("tables", r"concepts\.embedding: .* has no column dino"),
        ("clip_retrieval", r"input\.clip_retrieval: no .*; .*dino/img_emb_0\.npy is not there"),
    ):
        concepts = {"concepts": {"embedding": "dino"}}
        with pytest.raises(InputError, match=line):
            check(parse_config({**metadata_config("", tmp_path / "out"), "input": forms[source], **concepts}))


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tars")
    for number in range(2):
        write_tar(folder / f"{number:08d}.tar", members(number, 40))
    return folder


def of_tars(pool, output, encoders, **sections):
    embedding = {"model": "demo", "batch_size": 8, "encoders": encoders, "decoding": "exact"}
    return run(parse_config(tar_config(pool, output, embedding=embedding, **sections)), Silent())


def vectors_of(output, name):
    store = Store(str(output)).child(read_base(Store(str(output))).record["objects"]["embedding"])
    names = sorted(one for one in store.names() if one.endswith(f".{name}.npy"))
    return np.concatenate([store.read_array(one) for one in names])


def test_concepts_of_tars_are_made_by_a_further_encoder(pool, tmp_path):
    encoders = {"own": {"model": torchscript(tmp_path), "preprocessing": {"image_size": 32}}}
    score = {"selection": {"keep": 0.5, "variant": "paper", "score": "clip_score"}}
    record = of_tars(pool, tmp_path / "with", encoders, concepts={"embedding": "own"}, **score)
    plain = of_tars(pool, tmp_path / "without", {}, **score)
    assert record["totals"]["kept"] == plain["totals"]["kept"] == 40
    assert record["manifest_hash"] != plain["manifest_hash"]
    assert any("does not say how images are preprocessed" in line for line in record["warnings"])
    for side in ("image", "text"):
        assert np.array_equal(vectors_of(tmp_path / "with", side), vectors_of(tmp_path / "without", side))
    own = vectors_of(tmp_path / "with", "own")
    assert own.shape == (80, 6)
    assert np.allclose(np.linalg.norm(own.astype(np.float32), axis=1), 1, atol=1e-2)
    # A later run takes them over, and names another encoder without embedding anything again.
    again = of_tars(
        pool, tmp_path / "with2", encoders, concepts={"embedding": "own"}, base=str(tmp_path / "with"), **score
    )
    assert again["manifest_hash"] == record["manifest_hash"]


def test_a_further_clip_model_is_a_score_of_the_same_pass(pool, tmp_path):
    def kept(name, score):
        selection = {"keep": 0.5, "method": "top", "score": score}
        return of_tars(pool, tmp_path / name, {"same": {"model": "demo"}}, selection=selection)

    by_model, by_other = kept("model", "clip_score"), kept("other", {"clip_score": {"of": "same"}})
    assert by_model["manifest_hash"] == by_other["manifest_hash"]
    assert list(by_other["scores"]) == ["clip_score of same"]


def test_a_model_of_timm_embeds_by_its_own_preprocessing(pool, tmp_path):
    model, weights = timm_weights(tmp_path)
    encoders = {"small": {"model": model, "pretrained": weights}}
    of_tars(pool, tmp_path / "run", encoders, concepts={"embedding": "small"})
    found = vectors_of(tmp_path / "run", "small").astype(np.float32)

    module = timm.create_model(model.removeprefix("timm:"), num_classes=0).eval()
    module.load_state_dict(load_file(weights), strict=False)
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(module), is_training=False)
    images = torch.stack([transform(Image.open(io.BytesIO(picture(seed)))) for seed in range(40)])
    with torch.inference_mode():
        expected = torch.nn.functional.normalize(module(images)).numpy()
    # Objects are named by the shards' identities, in any order.
    assert max((half * expected).sum(axis=1).min() for half in (found[:40], found[40:])) > 0.999


@pytest.mark.parametrize(
    ("encoders", "more", "line"),
    [
        (
            {},
            {"concepts": {"embedding": "dino"}},
            r"^concepts\.embedding: dino is no encoder, embedding\.encoders names",
        ),
        ({"dino": {"model": "demo"}}, {"concepts": {"embedding": "dine"}}, r"did you mean dino\?"),
        ({"a": {"model": "RN51", "pretrained": "x"}}, {}, r"^embedding\.encoders\.a\.model: open_clip knows no RN51"),
        ({"a": {"model": "RN50"}}, {}, r"^embedding\.encoders\.a\.pretrained: is missing"),
        ({"a": {"model": "x.ts"}}, {}, r"^embedding\.encoders\.a\.preprocessing\.image_size: is missing"),
        ({"a": {"model": "timm:resnet18", "weights": "x"}}, {}, r"^embedding\.encoders\.a\.weights: is for"),
        (
            {"a": {"model": "timm:resnet18", "pretrained": "/no/x.pt"}},
            {},
            r"^embedding\.encoders\.a\.pretrained: /no/x",
        ),
        ({"a": {"model": "demo"}}, {"selection": {"score": {"clip_score": {"of": "b"}}}}, r"of: b is none of"),
        ({"offsets": {"model": "demo"}}, {}, r"offsets is the name of something else"),
        ({"a b": {"model": "demo"}}, {}, r"^embedding\.encoders"),
    ],
)
def test_what_cannot_work_is_refused_with_its_key(pool, tmp_path, encoders, more, line):
    embedding = {"model": "demo", "encoders": encoders}
    with pytest.raises(InputError, match=line):
        check(parse_config(tar_config(pool, tmp_path / "out", embedding=embedding, **more)))


def test_an_encoder_of_images_alone_is_no_model_and_no_score(pool, tmp_path):
    encoders = {"own": {"model": torchscript(tmp_path), "preprocessing": {"image_size": 32}}}
    embedding = {"model": "demo", "encoders": encoders}
    selection = {"selection": {"score": {"clip_score": {"of": "own"}}}}
    with pytest.raises(InputError, match=r"selection\.score: of: own is .*, which embeds no captions"):
        check(parse_config(tar_config(pool, tmp_path / "out", embedding=embedding, **selection)))
    with pytest.raises(InputError, match=r"embedding\.model: .* embeds no captions; name it under embedding\.encoders"):
        check(parse_config(tar_config(pool, tmp_path / "out", embedding={"model": "timm:resnet18"})))


def test_weights_of_another_encoder_are_refused(pool, tmp_path):
    _, weights = timm_weights(tmp_path)
    embedding = {"model": "demo", "encoders": {"a": {"model": "timm:resnet18", "pretrained": weights}}}
    with pytest.raises(InputError, match=r"embedding\.encoders\.a\.pretrained: .* does not load as timm:resnet18"):
        check(parse_config(tar_config(pool, tmp_path / "out", embedding=embedding)))
    broken = torchscript(tmp_path, vectors=False)
    embedding = {"model": "demo", "encoders": {"a": {"model": broken, "preprocessing": {"image_size": 32}}}}
    with pytest.raises(
        InputError, match=r"embedding\.encoders\.a\.model: .* gives shape \(2, 3, 32, 32\) for 2 images"
    ):
        check(parse_config(tar_config(pool, tmp_path / "out", embedding=embedding)))


@pytest.mark.parametrize("rule", [{"keep": 0.5}, {"threshold": 0.1}])
def test_a_filter_may_cut_by_the_score_of_a_further_model(pool, tmp_path, rule):
    def passed(name, **of):
        filters = [{"clip_score": {**rule, **of}}]
        return of_tars(pool, tmp_path / name, {"same": {"model": "demo"}}, filters=filters)

    by_model, by_other = passed("model"), passed("other", of="same")
    assert by_model["manifest_hash"] == by_other["manifest_hash"]
    assert by_model["filters"][0]["threshold"] == by_other["filters"][0]["threshold"]
    dropped = open_run(str(tmp_path / "other")).dropped().to_table().to_pylist()
    uid = next(row["uid"] for row in dropped if row["reason"] == "filter:clip_score")
    found = explain(str(tmp_path / "other"), uid)
    assert found["verdict"].startswith("its CLIP score by same, ")
    planned = plan(config := parse_config(by_other["config"] | {"output": str(tmp_path / "new")}), check(config))
    assert planned["passing"] is not None


def test_a_filter_by_no_encoder_is_refused(pool, tmp_path):
    embedding = {"model": "demo", "encoders": {"same": {"model": "demo"}}}
    filters = [{"clip_score": {"keep": 0.5, "of": "sane"}}]
    with pytest.raises(InputError, match=r"filters\.clip_score: of: sane is none of .*did you mean same\?"):
        check(parse_config(tar_config(pool, tmp_path / "out", embedding=embedding, filters=filters)))


def test_centroids_of_other_vectors_are_refused(pool, tmp_path):
    encoders = {"same": {"model": "demo"}}
    of_tars(pool, tmp_path / "first", encoders)
    embedding = {"model": "demo", "batch_size": 8, "encoders": encoders, "decoding": "exact"}
    config = tar_config(pool, tmp_path / "second", embedding=embedding, concepts={"embedding": "same"})
    line = r"made of the images' own vectors, .* made of the vectors of same; set concepts\.embedding"
    with pytest.raises(InputError, match=rf"^base: the concepts of .* are {line}"):
        check(parse_config(config), read_base(Store(str(tmp_path / "first"))))
    config["concepts"]["centroids"] = str(tmp_path / "first")
    with pytest.raises(InputError, match=rf"^concepts\.centroids: the concepts of .* are {line}"):
        check(parse_config(config))
