"""Files that the JSON of a model of one's own names, of its tokenizer and towers: its vectors follow from them, too."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from filtering.core.errors import InputError

# A tokenizer or a text tower of the hub's package: the name of a repository, or a folder.
NAMES = ("hf_tokenizer_name", "hf_model_name")
# A tower of timm's in a folder: the file there that defines it. Weights beside it are not read, but the model's own.
LOCAL_DIR, TIMM_CONFIG = "local-dir", "config.json"
# Such as bpe_path, vocab_file and merges_file.
ENDINGS = ("_path", "_file")


def tokenizer_files(model: str, text: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the files and folders that `text_cfg` of a model's JSON names; InputError if one is not there."""
    given = text.get("tokenizer_kwargs")
    options = given if isinstance(given, Mapping) else {}
    files = {f"tokenizer_kwargs.{key}": value for key, value in options.items() if key.endswith(ENDINGS)}
    named = {key: value for key in NAMES if _is_place(value := text.get(key))} | files
    for key, path in named.items():
        if not (isinstance(path, str) and _is_there(path)):
            raise InputError(f"embedding.model: {model} names {path} as {key} of text_cfg, which is not there")
    return tuple(map(str, named.values()))


def tower_files(model: str, vision: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the file that `vision_cfg` of a model's JSON names; InputError if it is not there."""
    source, _, folder = str(vision.get("timm_model_name") or "").partition(":")
    if source.lower() != LOCAL_DIR:
        return ()
    path = os.path.join(folder, TIMM_CONFIG)
    if not _is_file(path):
        raise InputError(f"embedding.model: {model} names {path} by timm_model_name of vision_cfg, which is not there")
    return (path,)


def names_repository(text: Mapping[str, Any]) -> bool:
    """Say whether `text_cfg` names a repository of the hub as its tokenizer, which may have to be downloaded."""
    name = text.get("hf_tokenizer_name")
    return bool(name) and not _is_place(name)


def files_in(path: str) -> list[Path]:
    """Return a file, or the files of a folder in the order of their names, without those of folders in it."""
    place = Path(path)
    return sorted(one for one in place.iterdir() if one.is_file()) if place.is_dir() else [place]


def _is_place(name: Any) -> bool:
    """Say whether a name is that of a folder here, there or not, and not of a repository."""
    return isinstance(name, str) and bool(name) and (name[0] in "/.~" or _is_there(name))


def _is_there(path: str) -> bool:
    # False, where pathlib would raise, if no file can have the path; a pipe would be waited for.
    return _is_file(path) or os.path.isdir(path)  # noqa: PTH112


def _is_file(path: str) -> bool:
    return os.path.isfile(path)  # noqa: PTH113
