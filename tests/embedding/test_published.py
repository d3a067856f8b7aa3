"""Models of a folder and of the hub: what open_clip publishes them as, with the small weights of this package."""

import json
import shutil

import huggingface_hub
import numpy as np
import pytest
from PIL import Image

from filtering.config.embedding import Embedding
from filtering.core.errors import InputError
from filtering.embedding import published
from filtering.embedding.checkpoint import model_files, read_own_config
from filtering.embedding.demo_clip import CHECKPOINT, MODEL_CONFIG
from filtering.embedding.identity import model_identity
from filtering.embedding.model import ClipModel

PREPROCESSING = {"mean": [0.4, 0.4, 0.4], "std": [0.2, 0.2, 0.2], "resize_mode": "squash", "interpolation": "bicubic"}


@pytest.fixture
def folder(tmp_path):
    return write(tmp_path / "model")


def write(folder, **text):
    """A folder as `open_clip.push_to_hf_hub` writes it."""
    folder.mkdir(parents=True)
    model = json.loads(MODEL_CONFIG.read_text())
    model["text_cfg"] |= text
    (folder / published.CONFIG).write_text(json.dumps({"model_cfg": model, "preprocess_cfg": PREPROCESSING}))
    shutil.copy(CHECKPOINT, folder / "open_clip_model.safetensors")
    return folder


def test_a_folder_is_the_model_of_its_files(folder):
    named, given = Embedding(model=f"local-dir:{folder}"), published.as_files(Embedding(model=f"local-dir:{folder}"))
    assert given.model == f"{folder}/open_clip_config.json"
    assert given.pretrained == f"{folder}/open_clip_model.safetensors"
    assert model_identity(named) == model_identity(given)
    assert model_files(named).preprocessing.resize_mode == "squash"
    model = ClipModel(named.model_copy(update={"device": "cpu"}))
    pixels, _ = model.preparation.image(_png())
    vectors = model.images(model.moved(pixels[None]))
    assert np.asarray(vectors).shape == (1, json.loads(MODEL_CONFIG.read_text())["embed_dim"])


def _png():
    import io

    buffer = io.BytesIO()
    Image.new("RGB", (40, 30), (200, 30, 60)).save(buffer, "PNG")
    return buffer.getvalue()


def test_a_repository_of_the_hub_is_taken_from_its_cache(tmp_path, monkeypatch):
    cached, commit = tmp_path / "hub" / "models--owner--name", "0" * 40
    write(cached / "snapshots" / commit)
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text(commit)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    published._downloaded.cache_clear()
    for name in ("hf-hub:owner/name", f"hf-hub:owner/name@{commit}"):
        files = model_files(Embedding(model=name))
        assert files.pretrained == f"{cached}/snapshots/{commit}/open_clip_model.safetensors"
    line = r"^embedding\.model: hf-hub:owner/other cannot be downloaded \("
    with pytest.raises(InputError, match=line):
        model_files(Embedding(model="hf-hub:owner/other"))


def test_a_tokenizer_beside_the_model_is_taken_and_not_that_of_the_hub(tmp_path):
    folder = write(tmp_path / "model", hf_tokenizer_name="timm/ViT-B-16-SigLIP")
    config = str(folder / published.CONFIG)
    assert read_own_config(config)["text_cfg"]["hf_tokenizer_name"] == "timm/ViT-B-16-SigLIP"
    for name in published.TOKENIZERS:
        (folder / name).write_text("{}")
    assert read_own_config(config)["text_cfg"]["hf_tokenizer_name"] == str(folder)


@pytest.mark.parametrize(
    ("removed", "given", "message"),
    [
        (published.CONFIG, {}, "has no open_clip_config.json; it is no model of open_clip"),
        ("open_clip_model.safetensors", {}, "has no weights: neither open_clip_model.safetensors nor "),
        ("", {"pretrained": "laion2b"}, "embedding.pretrained: local-dir:.* has its own weights; leave it out"),
        ("", {"weights": "x.pt"}, "embedding.weights: local-dir:.* has its own weights; leave it out"),
    ],
)
def test_folders_that_are_no_such_model_are_refused(folder, removed, given, message):
    if removed:
        (folder / removed).unlink()
    with pytest.raises(InputError, match=message):
        model_files(Embedding(model=f"local-dir:{folder}", **given))


def test_a_folder_alone_is_pointed_to_its_spelling(folder):
    with pytest.raises(InputError, match=rf"{folder} is a folder; write local-dir:{folder}, or"):
        model_files(Embedding(model=str(folder), pretrained="x"))
