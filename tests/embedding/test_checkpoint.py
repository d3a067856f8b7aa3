import json
import os
import subprocess
import sys
import zipfile
from dataclasses import asdict
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from open_clip.transform import PreprocessCfg, merge_preprocess_dict
from PIL import Image
from safetensors.torch import load_file

from filtering.config.embedding import Embedding
from filtering.core.errors import InputError
from filtering.embedding import checkpoint
from filtering.embedding.checkpoint import check_loads, model_files
from filtering.embedding.demo_clip import CHECKPOINT, MODEL_CONFIG
from filtering.embedding.known_models import model_names, tags_of
from filtering.embedding.model import ClipModel

PAIRS = open_clip.list_pretrained()
SIGLIP = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5), "resize_mode": "squash", "interpolation": "bicubic"}


@pytest.fixture
def hugging(monkeypatch):
    # Their tokenizers' package is not needed to know their preprocessing.
    monkeypatch.setattr(checkpoint, "find_spec", lambda name: object())


def preprocessing(**settings):
    found = asdict(model_files(Embedding(**settings)).preprocessing)
    return {key: value for key, value in found.items() if key != "image_size"}


def open_clips(*known):
    expected = asdict(PreprocessCfg())
    for one in known:
        expected = merge_preprocess_dict(expected, one)
    return {key: value for key, value in expected.items() if key not in ("size", "mode")}


def quick(name):
    return open_clip.get_model_config(name).get("quick_gelu", False)


def test_the_models_and_tags_are_those_of_open_clip():
    # Other tests may have told open_clip of models of their own.
    assert set(dict(PAIRS)) <= set(model_names()) <= set(open_clip.list_models())
    assert [(name, tag) for name in dict(PAIRS) for tag in tags_of(name)] == PAIRS


def test_weights_of_each_tag_are_run_as_they_were_trained_wherever_they_come_from(hugging):
    refused = []
    for name, tag in PAIRS:
        known = open_clip.get_pretrained_cfg(name, tag)
        if known.get("quick_gelu", False) and not quick(name):
            with pytest.raises(InputError, match=f"set embedding.model to {name}-quickgelu$"):
                model_files(Embedding(model=name, pretrained=tag))
            name = f"{name}-quickgelu"
            refused.append((name, tag))
            assert quick(name)
        for weights in (None, str(CHECKPOINT)):
            found = preprocessing(model=name, pretrained=tag, weights=weights)
            assert found == open_clips(known), (name, tag)
    assert len(refused) >= 27


def test_weights_without_a_tag_are_preprocessed_as_all_tags_of_the_model_or_else_by_default(hugging):
    assert preprocessing(model="ViT-B-16-SigLIP", pretrained=str(CHECKPOINT)) == open_clips(SIGLIP)
    files = model_files(Embedding(model="ViT-B-16-SigLIP", pretrained=str(CHECKPOINT)))
    assert "images are preprocessed by the tags of ViT-B-16-SigLIP (mean [0.5, 0.5, 0.5]" in files.guess
    assert preprocessing(model="ViT-H-14", pretrained=str(CHECKPOINT)) == open_clips()
    files = model_files(Embedding(model="RN50", pretrained=str(CHECKPOINT)))
    assert "all tags of RN50 were trained with QuickGELU" in files.guess


def test_keys_come_before_the_tag():
    keys = {"mean": (0.1, 0.2, 0.3), "resize_mode": "longest"}
    found = preprocessing(model="ViT-B-32", pretrained="laion2b_s34b_b79k", preprocessing=keys)
    assert found == open_clips(keys)


def test_the_hubs_configuration_brings_its_preprocessing(tmp_path):
    known = {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.2, 0.1], "resize_mode": "longest", "fill_color": 9}
    hub = {"model_cfg": json.loads(MODEL_CONFIG.read_text()), "preprocess_cfg": known}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(hub))
    model = ClipModel(Embedding(model=str(tmp_path / "open_clip_config.json"), pretrained=str(CHECKPOINT)))
    assert np.allclose(model.mean.flatten(), known["mean"])
    assert np.allclose(model.std.flatten(), known["std"])
    padded = np.asarray(model.preparation.resize(Image.new("RGB", (40, 10), "white")))
    assert padded.shape == (64, 64, 3)
    assert (padded[0] == 9).all()
    assert model.warnings == ()


VIT = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "patch_size": 16, "head_width": 16},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}


def test_images_of_another_size_suit_a_model_whose_positions_can_be_resized(tmp_path):
    (tmp_path / "vit.json").write_text(json.dumps(VIT))
    open_clip.add_model_config(tmp_path / "vit.json")
    saved(tmp_path / "vit.pt", open_clip.create_model("vit").state_dict())
    own = {"model": str(tmp_path / "vit.json"), "pretrained": str(tmp_path / "vit.pt")}
    settings = Embedding(preprocessing={"image_size": 96, "resize_mode": "squash"}, **own)
    check_loads(settings)
    model = ClipModel(settings)
    assert (model.preparation.width, model.preparation.height) == (96, 96)
    pixels = np.asarray(model.preparation.resize(Image.new("RGB", (40, 10), "white")))
    assert model.images(model.moved(pixels[None])).shape == (1, 16)
    with pytest.raises(InputError, match="size mismatch for visual"):
        check_loads(Embedding(model=str(MODEL_CONFIG), pretrained=str(CHECKPOINT), preprocessing={"image_size": 96}))


def test_what_open_clip_warns_of_is_kept(monkeypatch):
    create = open_clip.create_model

    def warning(*given, **keys):
        import logging
        import warnings

        warnings.warn("QuickGELU mismatch", UserWarning, stacklevel=1)
        logging.warning("something else")
        return create(*given, **keys)

    monkeypatch.setattr(open_clip, "create_model", warning)
    assert set(ClipModel(Embedding(model="demo")).warnings) == {"QuickGELU mismatch", "something else"}


class Other:
    """Another object than a tensor."""


WEIGHTS = CHECKPOINT.read_bytes()


def saved(path, value, **options):
    torch.save(value, path, **options)
    return path.read_bytes()


@pytest.fixture(scope="module")
def tensors():
    return load_file(CHECKPOINT)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("w.pt", b"", "is empty"),
        ("w.safetensors", b"", "is empty"),
        ("w.safetensors", WEIGHTS[:100_000], "is cut off: 100,000 of 9,474,986 bytes"),
        ("w.safetensors", WEIGHTS[:3], "is no whole safetensors file"),
        ("w.safetensors", bytes(1000), "is no whole safetensors file"),
        ("w.safetensors", b"\x02" + bytes(7) + b"{}", "holds no weights"),
        ("w.pt", WEIGHTS, "name it .safetensors"),
        ("w.pt", b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 5\n", "is a Git LFS pointer"),
        ("w.safetensors", b"version https://git-lfs.github.com/spec/v1\n", "is a Git LFS pointer"),
        ("w.pt", b"<!doctype html><title>404</title>", "is text"),
        ("w.safetensors", b'{"error": "not found", "status": 404}', "is text"),
        ("w.pt", b"hello" * 100, "is neither a file of torch.save nor of safetensors"),
    ],
)
def test_files_that_are_no_weights_are_refused_without_torch(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError) as refused:
        model_files(Embedding(model=str(MODEL_CONFIG), pretrained=str(tmp_path / name)))
    assert str(refused.value).startswith(f"embedding.pretrained: {tmp_path / name} ")
    assert words in str(refused.value)


def test_archives_that_are_no_weights_are_refused_without_torch(tmp_path, tensors):
    def refusal(name, content):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=r"^embedding\.weights: ") as refused:
            settings = {"model": "ViT-B-32", "pretrained": "laion2b_s34b_b79k", "weights": str(tmp_path / name)}
            model_files(Embedding(**settings))
        return str(refused.value)

    whole = saved(tmp_path / "whole.pt", tensors)
    assert "is cut off or damaged" in refusal("w.pt", whole[: len(whole) // 2])
    assert "name it .pt" in refusal("w.safetensors", whole)
    with zipfile.ZipFile(tmp_path / "w.zip", "w") as archive:
        archive.writestr("readme.txt", "x")
    assert "is a zip archive, but not one of torch.save" in refusal("w.zip", (tmp_path / "w.zip").read_bytes())
    with zipfile.ZipFile(tmp_path / "jit.pt", "w") as archive:
        archive.writestr("model/constants.pkl", "x")
    assert "is a TorchScript archive" in refusal("jit.pt", (tmp_path / "jit.pt").read_bytes())
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for name, words in (("folder", "a folder; name the file in it"), ("pipe", "no regular file but a pipe, a socket")):
        with pytest.raises(InputError, match=rf"^embedding\.pretrained: .*/{name} is {words}"):
            model_files(Embedding(model=str(MODEL_CONFIG), pretrained=str(tmp_path / name)))


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (lambda known: {}, "StopIteration"),
        (lambda known: [1], "list"),
        (lambda known: {"model": Other()}, "it holds Python objects besides tensors"),
        (lambda known: {**known, "text_projection": torch.zeros(3, 3)}, "size mismatch for text_projection"),
        (lambda known: {**known, "another": torch.zeros(3)}, 'Unexpected key(s) in state_dict: "another"'),
        (
            lambda known: {key: value for key, value in known.items() if key != "text_projection"},
            'Missing key(s) in state_dict: "text_projection"',
        ),
    ],
)
def test_weights_that_do_not_fit_are_refused_before_they_are_loaded(tmp_path, tensors, changed, words):
    for keys in ({}, {"_use_new_zipfile_serialization": False}):
        saved(tmp_path / "w.pt", changed(tensors), **keys)
        with pytest.raises(InputError, match=r"^embedding\.pretrained: .* does not load as filtering-demo") as refused:
            check_loads(Embedding(model=str(MODEL_CONFIG), pretrained=str(tmp_path / "w.pt")))
        assert words in str(refused.value)
        assert "\n" not in str(refused.value)


def test_weights_of_training_in_any_format_are_accepted(tmp_path, tensors):
    check_loads(Embedding(model=str(MODEL_CONFIG), pretrained=str(CHECKPOINT)))
    for keys in ({}, {"_use_new_zipfile_serialization": False}):
        trained = {"epoch": 3, "state_dict": {f"module.{key}": value for key, value in tensors.items()}}
        saved(tmp_path / "w.pt", trained, **keys)
        check_loads(Embedding(model=str(MODEL_CONFIG), pretrained=str(tmp_path / "w.pt")))


def test_weights_of_another_architecture_are_refused():
    with pytest.raises(InputError, match=r"^embedding\.pretrained: .* does not load as ViT-S-32-alt \("):
        check_loads(Embedding(model="ViT-S-32-alt", pretrained=str(CHECKPOINT)))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is not JSON"),
        (MODEL_CONFIG.read_bytes()[:50], "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        (b"[1]", "it has no embed_dim, vision_cfg, text_cfg"),
        (b'{"model_cfg": {"embed_dim": 3, "vision_cfg": {}}}', "it has no text_cfg"),
        (b'{"embed_dim": 4, "vision_cfg": 3, "text_cfg": {}}', "it has no towers"),
        (b'{"embed_dim": 4, "vision_cfg": {}, "text_cfg": {"hf_model_name": "x"}}', "needs the package transformers"),
        (b'{"embed_dim": 4, "vision_cfg": {}, "text_cfg": {"odd": 1}}', "cannot be built ("),
    ],
)
def test_a_broken_definition_of_a_model_is_refused(tmp_path, content, words, monkeypatch):
    monkeypatch.setattr("filtering.embedding.checkpoint.find_spec", lambda name: None)
    (tmp_path / "own.json").write_bytes(content)
    with pytest.raises(InputError, match=r"^embedding\.model: .*own") as refused:
        check_loads(Embedding(model=str(tmp_path / "own.json"), pretrained=str(CHECKPOINT)))
    assert words in str(refused.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ({"tokenizer_kwargs": {"bpe_path": "none.gz"}}, "tokenizer_kwargs.bpe_path of text_cfg, which is not there"),
        ({"tokenizer_kwargs": {"bpe_path": 3}}, "names 3 as tokenizer_kwargs.bpe_path of text_cfg, which is"),
        ({"tokenizer_kwargs": {"bpe_path": "x" * 5000}}, "tokenizer_kwargs.bpe_path of text_cfg, which is not there"),
        ({"tokenizer_kwargs": {"bpe_path": str(MODEL_CONFIG)}}, f"with {MODEL_CONFIG} cannot be built (Not a gzipped"),
        ({"tokenizer_kwargs": {"bpe_path": str(MODEL_CONFIG.parent)}}, "cannot be built ([Errno 21] Is a directory: "),
        ({"tokenizer_kwargs": {"odd": 1}}, "own.json cannot be built (SimpleTokenizer.__init__() got"),
        ({"tokenizer_kwargs": None}, "own.json cannot be built ('NoneType' object has"),
        ({"hf_tokenizer_name": "./none"}, "names ./none as hf_tokenizer_name of text_cfg, which is not there"),
    ],
)
def test_a_tokenizer_that_cannot_be_built_is_refused_before_the_run(hugging, tmp_path, text, words):
    defined = json.loads(MODEL_CONFIG.read_text())
    defined["text_cfg"] |= text
    (tmp_path / "own.json").write_text(json.dumps(defined))
    with pytest.raises(InputError, match=r"^embedding\.model: .*own\.json ") as refused:
        check_loads(Embedding(model=str(tmp_path / "own.json"), pretrained=str(CHECKPOINT)))
    assert words in str(refused.value)


@pytest.mark.parametrize("path", ["x" * 5000, "x" * 5000 + "/a.pt", "a.pt/" * 2000])
@pytest.mark.parametrize("key", ["model", "pretrained", "weights"])
def test_a_path_that_no_file_can_have_is_refused(key, path):
    known = {"model": "ViT-B-32", "pretrained": "laion2b_s34b_b79k"} if key == "weights" else {"model": "ViT-B-32"}
    with pytest.raises(InputError, match=rf"^embedding\.{key}: "):
        model_files(Embedding(**(known | {key: path})))


@pytest.mark.parametrize("url", ["hf://x", "nothing://a/b.pt", "memory://none/w.pt", "file:///none/w.pt"])
def test_weights_at_a_url_that_cannot_be_read_are_refused_in_a_line_with_key_and_url(url):
    with pytest.raises(
        InputError, match=rf"^embedding\.pretrained: {url}:? (is not there$|cannot be (read|opened) \()"
    ) as refused:
        model_files(Embedding(model="ViT-B-32", pretrained=url))
    assert "\n" not in str(refused.value)


def test_names_are_known_without_torch():
    code = (
        "import sys\n"
        "from filtering.config.embedding import Embedding\n"
        "from filtering.embedding.checkpoint import model_files\n"
        "model_files(Embedding(model='ViT-B-32', pretrained='laion2b_s34b_b79k'))\n"
        "print(sorted({'torch', 'open_clip', 'numpy', 'pyarrow', 'ray'} & set(sys.modules)))"
    )
    folder = Path(__file__).parents[2]
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=folder, check=True)
    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize("key", ["pretrained", "weights"])
def test_the_demo_model_takes_no_other_weights(key):
    with pytest.raises(InputError, match=rf"^embedding\.{key}: model demo has its own weights; leave it out$"):
        model_files(Embedding(model="demo", **{key: "laion2b_s34b_b79k"}))


def test_weights_in_the_home_folder_are_found(monkeypatch):
    monkeypatch.setenv("HOME", str(CHECKPOINT.parent))
    assert model_files(Embedding(model="RN50", pretrained=f"~/{CHECKPOINT.name}")).pretrained == str(CHECKPOINT)


def test_a_long_list_of_weights_ends_after_a_whole_name(monkeypatch):
    names = [f"visual.transformer.resblocks.{number}.ln_1.weight" for number in range(40)]

    def unlike(*_, **__):
        raise RuntimeError("Missing key(s) in state_dict: " + ", ".join(f'"{name}"' for name in names))

    monkeypatch.setattr("open_clip.load_checkpoint", unlike)
    with pytest.raises(InputError, match=r'"visual\.transformer\.resblocks\.\d+\.ln_1\.weight", \.\.\.\)$'):
        check_loads(Embedding(model="ViT-B-32", pretrained=str(CHECKPOINT)))
