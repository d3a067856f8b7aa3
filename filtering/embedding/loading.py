"""Load a model with open_clip, and try whether its weights fit it before anything else is started."""

import json
import logging
import pickle
import tempfile
import textwrap
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import open_clip
import torch
from safetensors import safe_open

from filtering.core.errors import InputError, first_line
from filtering.embedding.checkpoint import ModelFiles, read_own_config
from filtering.embedding.image_files import TIMM
from filtering.embedding.named_files import names_repository
from filtering.embedding.normalised import Normalised
from filtering.embedding.weights import SAFETENSORS

NOWHERE = "meta"  # torch's device of tensors that have a shape and no numbers
LONGEST = 300
PRECISIONS = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
# What open_clip logs of every model that is made without weights.
EXPECTED = "No pretrained weights loaded"


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model of open_clip, its preprocessing and tokenizer, and what open_clip and torch warned of on the way.

    `size` is the height and width of its images, in pixels; encoders of images alone have no tokenizer.
    """

    model: Any
    preprocess: Any
    tokenizer: Any
    size: tuple[int, int]
    warnings: tuple[str, ...]


def loaded(files: ModelFiles, device: str, precision: str) -> LoadedModel:
    """Load a model; InputError, with the key of the configuration, if it or its weights cannot be used."""
    if files.images_alone is not None:
        return _of_images(files, device, precision)
    with _heard() as said:
        _know(files)
        with _explained(files):
            model = open_clip.create_model(
                files.name,
                pretrained=files.pretrained,
                device=device,
                precision=precision,
                force_image_size=files.preprocessing.image_size,
                force_preprocess_cfg=_named(files.preprocessing),
            )
        tokenizer = _tokenizer(files)
    cfg = model.visual.preprocess_cfg
    named = {key: cfg[key] for key in ("mean", "std", "interpolation", "resize_mode", "fill_color")}
    preprocess = open_clip.image_transform(cfg["size"], is_train=False, **named)
    size = model.visual.image_size
    height, width = size if isinstance(size, tuple | list) else (size, size)
    return LoadedModel(model, preprocess, tokenizer, (int(height), int(width)), tuple(dict.fromkeys(said)))


def _of_images(files: ModelFiles, device: str, precision: str) -> LoadedModel:
    """Load an encoder of images alone."""
    # It imports timm, which the models of open_clip do without.
    from filtering.embedding.image_models import timm_model, torchscript_model

    with _heard() as said, _explained(files):
        if files.name.startswith(TIMM):
            assert files.images_alone is not None
            model = timm_model(files.name, files.pretrained, files.images_alone)
        else:
            model = torchscript_model(files.pretrained, files.preprocessing)
        model.module.to(device=device, dtype=PRECISIONS[precision])
    return LoadedModel(model, model.preprocess, None, model.size, tuple(dict.fromkeys(said)))


def check_shapes(files: ModelFiles) -> None:
    """Refuse weights of a file that do not fit the model: names and shapes are compared, no numbers are read."""
    with _heard():
        _know(files)
        with _of_the_model(files.name), torch.device(NOWHERE):
            size = files.preprocessing.image_size
            model = open_clip.create_model(files.name, device=NOWHERE, pretrained_text=False, force_image_size=size)
        with _explained(files), _shapes(files.pretrained) as path:
            open_clip.load_checkpoint(model, path, device=NOWHERE)


def check_tokenizer(files: ModelFiles) -> None:
    """Refuse a model of one's own whose tokenizer cannot be built of the files here; nothing is downloaded."""
    if files.config is None or names_repository(read_own_config(files.config)["text_cfg"]):
        return
    with _heard():
        _know(files)
        _tokenizer(files)


def _tokenizer(files: ModelFiles) -> Any:
    parts = f" with {' and '.join(files.tokenizer)}" if files.tokenizer else ""
    with _of_the_model(f"the tokenizer of {files.config or files.name}{parts}"):
        return open_clip.get_tokenizer(files.name)


def _named(known: Normalised) -> dict[str, Any]:
    return {
        "mean": known.mean,
        "std": known.std,
        "interpolation": known.interpolation,
        "resize_mode": known.resize_mode,
        "fill_color": known.fill_color,
    }


def _know(files: ModelFiles) -> None:
    """Tell open_clip of a model of one's own, whose file may be the hub's, with the model inside it."""
    if files.config is None:
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{files.name}.json"
        path.write_text(json.dumps(read_own_config(files.config)))
        open_clip.add_model_config(path)


@contextmanager
def _shapes(path: str) -> Iterator[str]:
    """Yield a file of torch.save with the names and shapes of weights, and with their numbers only where they must be.

    That is the file itself unless it is one of safetensors, which cannot be read without its numbers in another way.
    """
    if not path.endswith(SAFETENSORS):
        yield path
        return
    with tempfile.TemporaryDirectory() as folder, safe_open(path, framework="pt") as weights:
        names = weights.keys()
        shapes = {name: torch.empty(weights.get_slice(name).get_shape(), device=NOWHERE) for name in names}
        torch.save(shapes, Path(folder) / "shapes.pt")
        yield str(Path(folder) / "shapes.pt")


@contextmanager
def _heard() -> Iterator[list[str]]:
    """Yield the lines that libraries warn of in the block, by warnings or logs, instead of having them printed."""
    said, root = list[str](), logging.getLogger()
    listener = logging.Handler(logging.WARNING)
    listener.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    handlers, level = root.handlers, root.level
    root.handlers = [listener]
    root.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("default")
            yield said
    finally:
        root.handlers = handlers
        root.setLevel(level)
    said += [str(one.message) for one in caught if issubclass(one.category, UserWarning | RuntimeWarning)]
    said[:] = [" ".join(line.split())[:LONGEST] for line in said if not line.startswith(EXPECTED)]


@contextmanager
def _of_the_model(name: str) -> Iterator[None]:
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        # Models are made of others' JSON by others' code: whatever it raises, the configuration names the model.
        raise InputError(f"embedding.model: {name} cannot be built ({first_line(error)})") from error


@contextmanager
def _explained(files: ModelFiles) -> Iterator[None]:
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        # Weights are others' files, and open_clip's conversions of them raise errors of every kind.
        raise InputError(f"{files.key}: {files.pretrained} does not load as {files.name} ({_words(error)})") from error


def _words(error: Exception) -> str:
    """Return what torch says of weights, in one line: the first weight that differs, not the list of them all."""
    if isinstance(error, pickle.UnpicklingError):
        return "it holds Python objects besides tensors, or is damaged; nothing of it is run"
    lines = [" ".join(line.split()) for line in str(error).splitlines()]
    for beginning in ("size mismatch for", "Missing key", "Unexpected key"):
        if found := [line for line in lines if line.startswith(beginning)]:
            more = f", and {len(found) - 1} more" if len(found) > 1 else ""
            # Ended after a whole name.
            return textwrap.shorten(found[0], LONGEST, placeholder=" ...") + more
    return first_line(error)
