"""Models as open_clip publishes them: a folder (local-dir:PATH), or a repository of the hub (hf-hub:OWNER/NAME)."""

import os
from functools import cache
from pathlib import Path

from filtering.config.embedding import Embedding
from filtering.core.errors import InputError, first_line

FOLDER, HUB = "local-dir:", "hf-hub:"
CONFIG = "open_clip_config.json"
# The first that is there holds the weights.
WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
# What a folder must have for its tokenizer to be taken from there.
TOKENIZERS = ("tokenizer_config.json", "tokenizer.json")
NEEDED = [CONFIG, "tokenizer*", "vocab*", "merges.txt", "special_tokens_map.json", "*.model", "spiece*"]


def is_published(model: str) -> bool:
    """Return whether a model is named by a folder or a repository."""
    return model.startswith((FOLDER, HUB))


def as_files(settings: Embedding) -> Embedding:
    """Return the section with the JSON and the weights of a folder or a repository in place of its name.

    A repository is looked for in the hub's cache on this machine, and downloaded if it is not there. InputError if the
    files are not there, or weights are named besides.
    """
    for key in ("pretrained", "weights"):
        if getattr(settings, key) is not None:
            raise InputError(f"embedding.{key}: {settings.model} has its own weights; leave it out")
    folder = _folder(settings.model)
    if not (folder / CONFIG).is_file():
        raise InputError(f"embedding.model: {settings.model} has no {CONFIG}; it is no model of open_clip")
    weights = next((folder / name for name in WEIGHTS if (folder / name).is_file()), None)
    if weights is None:
        raise InputError(f"embedding.model: {settings.model} has no weights: neither {' nor '.join(WEIGHTS)}")
    return settings.model_copy(update={"model": str(folder / CONFIG), "pretrained": str(weights)})


def own_tokenizer(config: str) -> str | None:
    """Return the folder of a model's JSON if a tokenizer of the hub's package lies in it, too."""
    folder = Path(config).resolve().parent
    published = Path(config).name == CONFIG and all((folder / name).is_file() for name in TOKENIZERS)
    return str(folder) if published else None


def _folder(model: str) -> Path:
    if model.startswith(HUB):
        return _downloaded(model.removeprefix(HUB), model)
    folder = Path(os.path.expanduser(model.removeprefix(FOLDER)))  # noqa: PTH111
    if not folder.is_dir():
        raise InputError(f"embedding.model: {model} is not there")
    return folder


@cache
def _downloaded(repository: str, model: str) -> Path:
    # It takes a tenth of a second to import, which other models need not wait for.
    from huggingface_hub import snapshot_download

    name, _, revision = repository.partition("@")
    try:
        found = Path(snapshot_download(name, revision=revision or None, allow_patterns=NEEDED))
        if (found / CONFIG).is_file() and not any((found / weights).is_file() for weights in WEIGHTS):
            found = _with_weights(name, revision or None)
    except Exception as error:
        # The hub's package has an error of its own for each answer, and for a machine without a network.
        raise InputError(f"embedding.model: {model} cannot be downloaded ({first_line(error)})") from error
    return found


def _with_weights(name: str, revision: str | None) -> Path:
    """Return the folder of a repository with the first of its weights; the others may be as large."""
    from huggingface_hub import snapshot_download

    for weights in WEIGHTS:
        found = Path(snapshot_download(name, revision=revision, allow_patterns=[*NEEDED, weights]))
        if (found / weights).is_file():
            break
    return found
