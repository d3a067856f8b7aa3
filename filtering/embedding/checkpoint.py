"""What a configuration's model stands for: a name, the file that defines it, its weights. Loads nothing."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import fsspec

from filtering.config.run import Embedding
from filtering.config.validation import nearest
from filtering.core.errors import InputError
from filtering.embedding.demo_clip import CHECKPOINT, MODEL_CONFIG


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """What open_clip is asked for: a model by name, with a tag of open_clip's or the path of a checkpoint.

    `config` is the path of the JSON that defines the model, None if open_clip knows it.
    """

    name: str
    config: str | None
    pretrained: str


def model_files(settings: Embedding) -> ModelFiles:
    """Return what a configuration's `model` and `pretrained` stand for; InputError if there is no such model."""
    if settings.model == "demo":
        return ModelFiles(MODEL_CONFIG.stem, str(MODEL_CONFIG), str(CHECKPOINT))
    if settings.model.endswith(".json"):
        config = _local("embedding.model", settings.model)
        return ModelFiles(Path(config).stem, config, _pretrained(settings, ()))
    return ModelFiles(settings.model, None, _pretrained(settings, _known_tags(settings.model)))


def model_identity(settings: Embedding) -> list[str]:
    """Return what tells one model's vectors from another's: names, or the hash of a file's content."""
    files = model_files(settings)
    return [files.name, *(_content(path) for path in (files.config, files.pretrained) if path)]


def _known_tags(name: str) -> Sequence[str]:
    # open_clip brings torch along: imported only where a name of its own has to be looked up.
    import open_clip

    if name not in open_clip.list_models():
        raise InputError(f"embedding.model: open_clip knows no {name}{nearest(name, open_clip.list_models())}")
    tags: Sequence[str] = open_clip.list_pretrained_tags_by_model(name)
    return tags


def _pretrained(settings: Embedding, tags: Sequence[str]) -> str:
    name, pretrained = settings.model, settings.pretrained
    if pretrained is None:
        raise InputError(f"embedding.pretrained: is missing; give a tag of {name} or the path of a checkpoint")
    if pretrained in tags:
        return pretrained
    if not ("/" in pretrained or "." in pretrained or Path(pretrained).exists()):
        hint = nearest(pretrained, tags) if tags else ""
        raise InputError(f"embedding.pretrained: {name} has no tag {pretrained}{hint}")
    return _local("embedding.pretrained", pretrained)


def _local(key: str, path: str) -> str:
    if "://" in path:
        return str(fsspec.open_local(f"simplecache::{path}"))
    if not Path(path).is_file():
        raise InputError(f"{key}: {path} is not there")
    return path


def _content(path: str) -> str:
    if not Path(path).is_file():
        return path
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
