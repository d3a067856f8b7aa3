"""The models and tags that open_clip knows, read from its package without importing it, which takes seconds."""

import ast
import importlib
import json
from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

QUICK_GELU, SUFFIX = "quick_gelu", "-quickgelu"


@cache
def model_names() -> tuple[str, ...]:
    """Return the names of the models."""
    return tuple(sorted(path.stem for path in (_package() / "model_configs").glob("*.json")))


def model_config(name: str) -> dict[str, Any]:
    """Return what defines a model."""
    config: dict[str, Any] = json.loads((_package() / "model_configs" / f"{name}.json").read_text())
    return config


def tags_of(name: str) -> tuple[str, ...]:
    """Return the tags of a model's published weights."""
    return tuple(_pretrained()["list_pretrained_tags_by_model"](name))


def tag_settings(name: str, tag: str) -> Mapping[str, Any]:
    """Return what open_clip knows of the weights of a tag, such as their `mean`, `std` and `quick_gelu`."""
    settings: Mapping[str, Any] = _pretrained()["get_pretrained_cfg"](name, tag)
    return settings


def default_normalisation() -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the mean and standard deviation that open_clip takes where nothing says otherwise."""
    known = _pretrained()
    return known["OPENAI_DATASET_MEAN"], known["OPENAI_DATASET_STD"]


def _package() -> Path:
    spec = find_spec("open_clip")
    assert spec is not None
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0])


@cache
def _pretrained() -> Mapping[str, Any]:
    try:
        found = _run_alone("pretrained")
        found["get_pretrained_cfg"], found["list_pretrained_tags_by_model"], found["OPENAI_DATASET_STD"]
    except Exception:
        # A version that is laid out in another way: its own import knows the same, seconds later.
        return vars(importlib.import_module("open_clip.pretrained"))
    return found


def _run_alone(module: str) -> dict[str, Any]:
    """Return the names of a module of open_clip, run without its package and without what it imports on trial.

    What it tries to import (safetensors and with it torch, the hub) is for downloads alone.
    """
    path = _package() / f"{module}.py"
    names: dict[str, Any] = {}
    body = list[ast.stmt]()
    for statement in ast.parse(path.read_text()).body:
        if isinstance(statement, ast.ImportFrom) and statement.level:
            names |= _run_alone(statement.module or "")
        elif not isinstance(statement, ast.Try):
            body.append(statement)
    exec(compile(ast.Module(body, []), str(path), "exec"), names)
    return names
