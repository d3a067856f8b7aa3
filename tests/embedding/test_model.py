import json
import shutil

import numpy as np
import open_clip
import pytest
from PIL import Image

from filtering.config.embedding import Embedding
from filtering.core.errors import InputError
from filtering.embedding.checkpoint import model_files
from filtering.embedding.demo_clip import CHECKPOINT, MODEL_CONFIG
from filtering.embedding.model import ClipModel


def vectors(settings):
    model = ClipModel(settings)
    pixels = np.asarray(model.preparation.resize(Image.new("RGB", (80, 60), "red")))
    return model.images(model.moved(pixels[None])), model.texts(model.preparation.tokens(["a red square"]))


def test_a_checkpoint_file_loads_as_the_demo_model_does(tmp_path):
    config = shutil.copy(MODEL_CONFIG, tmp_path / "own.json")
    weights = shutil.copy(CHECKPOINT, tmp_path / "weights.safetensors")
    own = vectors(Embedding(model=str(config), pretrained=str(weights)))
    demo = vectors(Embedding(model="demo"))
    assert np.array_equal(own[0], demo[0])
    assert np.array_equal(own[1], demo[1])
    assert np.allclose(np.linalg.norm(own[0], axis=1), 1, atol=1e-5)


@pytest.mark.slow
def test_an_open_clip_name_with_a_checkpoint_path_loads(tmp_path):
    model = open_clip.create_model("ViT-S-32-alt")
    import torch

    torch.save(model.state_dict(), tmp_path / "small.pt")
    images, texts = vectors(Embedding(model="ViT-S-32-alt", pretrained=str(tmp_path / "small.pt")))
    assert images.shape == texts.shape == (1, 256)


def test_a_tag_is_taken_as_it_is():
    files = model_files(Embedding(model="ViT-B-32", pretrained="laion2b_s34b_b79k"))
    assert (files.name, files.config, files.pretrained) == ("ViT-B-32", None, "laion2b_s34b_b79k")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model": "ViT-B-33", "pretrained": "openai"}, "did you mean ViT-B-32?"),
        ({"model": "demoo"}, "did you mean demo?"),
        ({"model": "zzz", "pretrained": "openai"}, "; the nearest of "),
        ({"model": "ViT-B-32", "pretrained": "laion2b_s34b_b79"}, "did you mean laion2b_s34b_b79k?"),
        ({"model": "ViT-B-32"}, "embedding.pretrained: is missing"),
        ({"model": "ViT-B-32", "pretrained": "/nowhere.pt"}, "/nowhere.pt is not there"),
        ({"model": "/nowhere.json", "pretrained": "x.pt"}, "/nowhere.json is not there"),
        ({"model": "local-dir:x", "pretrained": "x.pt"}, "local-dir:x has its own weights; leave it out"),
        ({"model": "local-dir:/nowhere"}, "local-dir:/nowhere is not there"),
        (
            {"model": "ViT-B-32-quickgelu", "pretrained": "laion2b_s34b_b79k"},
            "no tag laion2b_s34b_b79k, but ViT-B-32 has",
        ),
        ({"model": "ViT-B-32", "pretrained": "openai"}, "set embedding.model to ViT-B-32-quickgelu"),
        ({"model": "ViT-B-32", "pretrained": "x.pt", "weights": "x.pt"}, "it must be the tag that they belong to"),
    ],
)
def test_what_does_not_exist_is_refused_in_one_line(settings, message):
    with pytest.raises(InputError) as refused:
        model_files(Embedding(**settings))
    assert message in str(refused.value)
    assert len(str(refused.value)) < 300


def test_weights_of_another_model_are_refused(tmp_path):
    with pytest.raises(InputError, match="does not load as ViT-S-32-alt"):
        ClipModel(Embedding(model="ViT-S-32-alt", pretrained=str(CHECKPOINT)))


# One layer each: compiling takes its time by layer.
SMALL = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "patch_size": 16, "head_width": 16},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="compiling needs g++")
def test_a_compiled_model_gives_the_vectors_of_the_model_for_any_size_of_batch(tmp_path, monkeypatch):
    import torch
    from torch._inductor import config

    # Scalar code: it takes longer to find out which vector instructions the compiler knows than to compile.
    monkeypatch.setattr(config.cpp, "vec_isa_ok", False)
    (tmp_path / "small.json").write_text(json.dumps(SMALL))
    open_clip.add_model_config(tmp_path / "small.json")
    torch.save(open_clip.create_model("small").state_dict(), tmp_path / "small.pt")
    settings = {"model": str(tmp_path / "small.json"), "pretrained": str(tmp_path / "small.pt")}
    plain, compiled = (ClipModel(Embedding(compile=choice, **settings)) for choice in (False, True))
    pixels = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
    tokens = plain.preparation.tokens(["a red square", "a blue circle", "nothing", "a green star"])
    # Not 3 first: a batch as large as there are channels would be compiled for that size alone.
    for size in (4, 2):
        images = [model.images(model.moved(pixels[:size])) for model in (plain, compiled)]
        texts = [model.texts(tokens[:size]) for model in (plain, compiled)]
        assert np.allclose(*images, atol=1e-5)
        assert np.allclose(*texts, atol=1e-5)


def test_compiling_without_a_compiler_is_refused_in_one_line(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(InputError, match=r"^embedding\.compile: .* there is no no-such-compiler; install it"):
        ClipModel(Embedding(model="demo", compile=True))
