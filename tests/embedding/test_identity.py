"""The identity of a model, and files that are no longer those it is of."""

import gzip
import json
import platform
import shutil
from pathlib import Path

import fsspec
import numpy as np
import open_clip
import pytest
import torch
from open_clip.tokenizer import default_bpe
from safetensors.numpy import save_file

from filtering.config.embedding import Embedding
from filtering.core.errors import InputError
from filtering.embedding import checkpoint
from filtering.embedding.demo_clip import CHECKPOINT, MODEL_CONFIG
from filtering.embedding.identity import model_identity, pinned
from filtering.embedding.model import ClipModel


def test_the_identity_changes_with_the_weights_and_the_preprocessing(tmp_path):
    config = str(shutil.copy(MODEL_CONFIG, tmp_path / "own.json"))
    for name in ("a", "b"):
        save_file({"weight": np.zeros(3)}, tmp_path / f"{name}.safetensors", {"name": name})

    def identity(name, **keys):
        return model_identity(Embedding(model=config, pretrained=str(tmp_path / f"{name}.safetensors"), **keys))

    assert identity("a") != identity("b")
    assert identity("a") != identity("a", preprocessing={"resize_mode": "squash"})
    assert identity("a") == identity("a", preprocessing={"resize_mode": "shortest"})


@pytest.fixture
def own(tmp_path):
    """A model of one's own, whose files may be written again."""
    shutil.copy(MODEL_CONFIG, tmp_path / "own.json")
    shutil.copy(CHECKPOINT, tmp_path / f"own{CHECKPOINT.suffix}")
    return Embedding(model=str(tmp_path / "own.json"), pretrained=str(tmp_path / f"own{CHECKPOINT.suffix}"))


@pytest.fixture
def with_vocabulary(own):
    """The same with a vocabulary of its own, which may be written again, too; and the path of that."""
    vocabulary = str(shutil.copy(default_bpe(), Path(own.model).parent / "vocabulary.gz"))
    named(own, tokenizer_kwargs={"bpe_path": vocabulary})
    return own, vocabulary


def named(model, **text):
    """Let the text tower of a model of one's own name files."""
    defined = json.loads(Path(model.model).read_text())
    defined["text_cfg"] |= text
    Path(model.model).write_text(json.dumps(defined))


def reversed_merges(path):
    first, *merges = gzip.decompress(Path(path).read_bytes()).split(b"\n")
    Path(path).write_bytes(
        gzip.compress(b"\n".join([first, *reversed(merges[:48_894]), *merges[48_894:]]), compresslevel=1)
    )


def written_again(path):
    """Write another file of the same size, which loads as well."""
    data = Path(path).read_bytes()
    Path(path).write_bytes(data[:-1] + bytes([data[-1] ^ 1]))


def test_a_run_that_has_begun_keeps_its_identity(own):
    begun = pinned(own)
    assert model_identity(begun) == model_identity(own)
    assert begun.model_dump() == own.model_dump()
    written_again(own.pretrained)
    assert model_identity(begun) != model_identity(own)


def test_weights_that_are_others_than_the_run_began_with_are_refused(own):
    begun = pinned(own)
    ClipModel(begun)
    written_again(own.pretrained)
    with pytest.raises(InputError) as refused:
        ClipModel(begun)
    assert str(refused.value) == (
        f"embedding.pretrained: {own.pretrained} on {platform.node()} is not the file that this run began with; give "
        "all nodes the same file, then the same command again"
    )
    ClipModel(own)


def test_a_definition_that_is_another_is_refused(own):
    begun = pinned(own)
    Path(own.model).write_text(Path(own.model).read_text() + " ")
    with pytest.raises(InputError, match=r"^embedding\.model: .*own\.json on .* is not the file"):
        ClipModel(begun)


def test_a_vocabulary_is_part_of_the_identity_and_one_written_again_is_refused(with_vocabulary):
    own, vocabulary = with_vocabulary
    begun = pinned(own)
    reversed_merges(vocabulary)
    assert model_identity(begun) != model_identity(own)
    with pytest.raises(InputError, match=r"^embedding\.model: .*vocabulary\.gz on .* is not the file that this run"):
        ClipModel(begun)


@pytest.mark.parametrize("key", ["hf_tokenizer_name", "hf_model_name"])
def test_the_files_of_a_tokenizers_folder_are_part_of_the_identity(own, key, tmp_path, monkeypatch):
    # The package that reads them is not installed.
    monkeypatch.setattr(checkpoint, "find_spec", lambda name: True)
    folder = tmp_path / "tokenizer"
    (folder / "more").mkdir(parents=True)
    (folder / "vocab.json").write_text("{}")
    named(own, **{key: str(folder)})
    found = [model_identity(own)]
    (folder / "vocab.json").write_text("[]")
    found.append(model_identity(own))
    (folder / "merges.txt").write_text("")
    found.append(model_identity(own))
    assert len({json.dumps(one) for one in found}) == 3


def test_a_tokenizers_folder_that_another_machine_lacks_is_refused_there(own, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "find_spec", lambda name: True)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tokenizer").mkdir()
    named(own, hf_tokenizer_name="tokenizer")
    begun = pinned(own)
    (tmp_path / "tokenizer").rmdir()
    with pytest.raises(InputError, match=r"^embedding\.model: .* is not the file that this run began with"):
        ClipModel(begun)


@pytest.fixture
def of_timm(own, tmp_path):
    """A model of one's own whose image tower is timm's, defined by a file in a folder; and that file."""
    tower = tmp_path / "tower/config.json"
    tower.parent.mkdir()
    tower.write_text(json.dumps({"architecture": "test_vit", "pretrained_cfg": {}}))
    defined = json.loads(Path(own.model).read_text())
    name = f"local-dir:{tower.parent}"
    defined["vision_cfg"] = {"timm_model_name": name, "timm_pool": "", "timm_proj": "linear", "image_size": 160}
    Path(own.model).write_text(json.dumps(defined))
    open_clip.add_model_config(own.model)
    torch.save(open_clip.create_model("own").state_dict(), tmp_path / "own.pt")
    return own.model_copy(update={"pretrained": str(tmp_path / "own.pt")}), tower


def test_the_file_that_defines_a_tower_of_timm_is_part_of_the_identity(of_timm):
    own, tower = of_timm
    begun = pinned(own)
    pixels = torch.zeros((1, 160, 160, 3), dtype=torch.uint8)
    before = ClipModel(begun).images(pixels)
    tower.write_text(json.dumps(json.loads(tower.read_text()) | {"model_args": {"act_layer": "relu"}}))
    assert not np.array_equal(ClipModel(own).images(pixels), before)
    assert model_identity(begun) != model_identity(own)
    with pytest.raises(InputError, match=r"^embedding\.model: .*tower/config\.json on .* is not the file that"):
        ClipModel(begun)
    tower.unlink()
    with pytest.raises(InputError, match=r"^embedding\.model: .* timm_model_name of vision_cfg, which is not there$"):
        model_identity(own)


def test_weights_that_change_while_they_are_loaded_are_refused(own, monkeypatch):
    from filtering.embedding import model

    def loaded(files, *how):
        found = plainly(files, *how)
        written_again(files.pretrained)
        return found

    plainly, begun = model.loaded, pinned(own)
    monkeypatch.setattr(model, "loaded", loaded)
    with pytest.raises(InputError, match="is not the file that this run began with"):
        ClipModel(begun)


def test_a_model_in_a_store_is_downloaded_under_its_name_and_again_when_it_changed(own):
    store = fsspec.filesystem("memory")
    for path in (own.model, own.pretrained):
        store.put(path, f"/models/{Path(path).name}")
    there = Embedding(model="memory://models/own.json", pretrained=f"memory://models/own{CHECKPOINT.suffix}")
    assert model_identity(there) == model_identity(own)
    ClipModel(pinned(there))
    written_again(own.pretrained)
    store.put(own.pretrained, f"/models/own{CHECKPOINT.suffix}")
    assert model_identity(there) == model_identity(own)
    with pytest.raises(InputError, match=r"^embedding\.pretrained: memory://models/none\.pt is not there$"):
        model_identity(Embedding(model="memory://models/own.json", pretrained="memory://models/none.pt"))
