"""What a configuration's model stands for: a name, the file that defines it, its weights, its preprocessing.

Nothing is loaded and torch is not imported, so that what cannot work is refused at once.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from filtering.config.embedding import Embedding
from filtering.config.input import Input
from filtering.config.preprocessing import Preprocessing
from filtering.config.types import Section
from filtering.config.validation import nearest
from filtering.core.errors import InputError, first_line
from filtering.embedding.demo_clip import CHECKPOINT, MODEL_CONFIG
from filtering.embedding.image_files import embeds_images_alone, weights_of_images
from filtering.embedding.known_models import (
    QUICK_GELU,
    SUFFIX,
    model_config,
    model_names,
    tag_settings,
    tags_of,
)
from filtering.embedding.local_weights import is_file, is_folder, local_file, local_weights
from filtering.embedding.named_files import tokenizer_files, tower_files
from filtering.embedding.normalised import Normalised, merged
from filtering.embedding.published import as_files, is_published, own_tokenizer

NEEDED = ("embed_dim", "vision_cfg", "text_cfg")
MODEL, PRETRAINED, WEIGHTS = "embedding.model", "embedding.pretrained", "embedding.weights"


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """What open_clip is asked for: a model by name, with a tag of open_clip's or the path of a checkpoint.

    `config` is the path of the JSON that defines the model, None if open_clip knows it; `key` is the configuration's
    key of the weights, and `guess` says in a line which preprocessing is taken where nothing names it. `tokenizer` are
    the files and folders of a tokenizer that the JSON names, and `towers` the files that define its towers. Encoders of
    images alone are no models of open_clip: `images_alone` are the configuration's keys of their preprocessing.
    """

    name: str
    config: str | None
    pretrained: str
    key: str
    preprocessing: Normalised
    guess: str = ""
    tokenizer: tuple[str, ...] = ()
    towers: tuple[str, ...] = ()
    images_alone: Preprocessing | None = None

    @property
    def named(self) -> tuple[str, ...]:
        """The files and folders that the JSON names."""
        return (*self.towers, *self.tokenizer)


def model_files(settings: Embedding) -> ModelFiles:
    """Return what a configuration's model stands for; InputError if there is no such model or it cannot be loaded."""
    if embeds_images_alone(settings.model):
        path, key, guess = weights_of_images(settings)
        known = merged({}, settings.preprocessing)
        return ModelFiles(settings.model, None, path, key, known, guess, images_alone=settings.preprocessing)
    if settings.model == "demo":
        for key, given in ((PRETRAINED, settings.pretrained), (WEIGHTS, settings.weights)):
            if given is not None:
                raise InputError(f"{key}: model demo has its own weights; leave it out")
        known = merged({}, settings.preprocessing)
        return ModelFiles(MODEL_CONFIG.stem, str(MODEL_CONFIG), str(CHECKPOINT), MODEL, known)
    if is_published(settings.model):
        return _own_model(as_files(settings))
    if settings.model.endswith(".json"):
        return _own_model(settings)
    _check_name(settings.model)
    if settings.pretrained is None:
        raise InputError(
            f"embedding.pretrained: is missing; give a tag of {settings.model} or the path of a checkpoint"
        )
    if settings.weights is None and not _is_tag(settings.model, settings.pretrained):
        return _without_tag(settings, settings.pretrained)
    return _with_tag(settings, settings.pretrained)


def check_model(sections: Mapping[str, Section]) -> None:
    """Refuse the model of a configuration, some of whose sections are valid: see `model_files`."""
    source, settings = sections.get("input"), sections.get("embedding")
    unused = isinstance(source, Input) and not source.has_pictures
    if (
        isinstance(settings, Embedding)
        and settings.model_fields_set & {"model", "pretrained", "weights"}
        and not unused
    ):
        _refuse_images_alone(settings)
        model_files(settings)


def check_main(settings: Embedding) -> None:
    """Refuse the model of images and captions as `check_loads` does, and one that has no text tower."""
    _refuse_images_alone(settings)
    check_loads(settings)


def _refuse_images_alone(settings: Embedding) -> None:
    if embeds_images_alone(settings.model):
        raise InputError(
            f"embedding.model: {settings.model} embeds no captions; name it under embedding.encoders, and give a CLIP "
            "model here"
        )


def check_loads(settings: Embedding) -> None:
    """Refuse a model as `model_files` does, weights of a file that are not the model's, and a broken tokenizer."""
    files = model_files(settings)
    if files.images_alone is not None:
        from filtering.embedding.loading import loaded

        if files.pretrained:
            loaded(files, "cpu", "fp32")
    elif settings.model != "demo" and is_file(files.pretrained):
        # Building the model, without numbers, takes torch.
        from filtering.embedding.loading import check_shapes, check_tokenizer

        check_shapes(files)
        check_tokenizer(files)


def _check_name(name: str) -> None:
    if name in model_names():
        return _check_packages(name, model_config(name))
    if is_folder(name):
        raise InputError(f"embedding.model: {name} is a folder; write local-dir:{name}, or the path of the JSON in it")
    known = ("demo", *model_names())
    raise InputError(f"embedding.model: open_clip knows no {name}{nearest(name, known)}")


def _check_packages(name: str, config: Mapping[str, Any]) -> None:
    text = config["text_cfg"]
    hugging = "siglip" in name.lower() or any(text.get(key) for key in ("hf_model_name", "hf_tokenizer_name"))
    if hugging and find_spec("transformers") is None:
        raise InputError(
            f"embedding.model: {name} needs the package transformers; install it: pip install transformers (it is the "
            "extra transformers of this package)"
        )


def _is_tag(name: str, given: str) -> bool:
    return bool(tag_settings(name, given))


def _with_tag(settings: Embedding, tag: str) -> ModelFiles:
    name, known = settings.model, tag_settings(settings.model, tag)
    if not known:
        raise InputError(
            f"embedding.pretrained: {_no_tag(name, tag)}; with embedding.weights it must be the tag that they belong to"
        )
    if known.get(QUICK_GELU, False) and not model_config(name).get(QUICK_GELU, False):
        raise InputError(
            f"embedding.model: the weights of {tag} were trained with QuickGELU, and {name} computes GELU; "
            f"set embedding.model to {name}{SUFFIX}"
        )
    path = tag if settings.weights is None else local_weights(WEIGHTS, settings.weights)
    key = PRETRAINED if settings.weights is None else WEIGHTS
    return ModelFiles(name, None, path, key, merged(known, settings.preprocessing))


def _without_tag(settings: Embedding, given: str) -> ModelFiles:
    name, tags = settings.model, tags_of(settings.model)
    if not ("/" in given or "." in given or is_file(given) or is_folder(given)):
        raise InputError(f"embedding.pretrained: {_no_tag(name, given)}")
    path = local_weights(PRETRAINED, given)
    found = {merged(tag_settings(name, tag), settings.preprocessing) for tag in tags}
    agreed = found.pop() if len(found) == 1 else None
    known = agreed or merged({}, settings.preprocessing)
    whose = f"the tags of {name}" if agreed else "open_clip's default"
    return ModelFiles(name, None, path, PRETRAINED, known, _guess(path, whose, known) + _activation(name, tags))


def _guess(path: str, whose: str, known: Normalised) -> str:
    return (
        f"embedding.pretrained: {path} comes without a tag, so images are preprocessed by {whose} ({known}); if it was "
        "trained in another way, set embedding.pretrained to its tag and embedding.weights to the file, or set "
        "embedding.preprocessing"
    )


def _activation(name: str, tags: tuple[str, ...]) -> str:
    """Return a warning where all published weights of a model compute another activation than the model does."""
    quick = bool(tags) and all(tag_settings(name, tag).get(QUICK_GELU, False) for tag in tags)
    if not quick or model_config(name).get(QUICK_GELU, False):
        return ""
    return f"; all tags of {name} were trained with QuickGELU: if these were, set embedding.model to {name}{SUFFIX}"


def _own_model(settings: Embedding) -> ModelFiles:
    path = local_file(MODEL, settings.model)
    config, known = _own_config(path)
    _check_packages(Path(path).stem, config)
    if settings.weights is not None:
        raise InputError(
            f"embedding.weights: is for the weights of a tag; give those of {settings.model} as embedding.pretrained"
        )
    if settings.pretrained is None:
        raise InputError(f"embedding.pretrained: is missing; give the path of a checkpoint of {settings.model}")
    weights = local_weights(PRETRAINED, settings.pretrained)
    preprocessing = merged(known, settings.preprocessing)
    tokenizer = tokenizer_files(settings.model, config["text_cfg"])
    towers = tower_files(settings.model, config["vision_cfg"])
    return ModelFiles(Path(path).stem, path, weights, PRETRAINED, preprocessing, tokenizer=tokenizer, towers=towers)


def read_own_config(path: str) -> Mapping[str, Any]:
    """Return what defines a model of one's own, from open_clip's JSON or the hub's open_clip_config.json."""
    return _own_config(path)[0]


def _own_config(path: str) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    try:
        found = json.loads(Path(path).read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"embedding.model: {path} is not JSON ({first_line(error)})") from None
    inner = found.get("model_cfg", found) if isinstance(found, dict) else None
    missing = [key for key in NEEDED if not isinstance(inner, dict) or key not in inner]
    if missing or not isinstance(inner, dict) or not all(isinstance(inner[key], dict) for key in NEEDED[1:]):
        raise InputError(
            f"embedding.model: {path} defines no model of open_clip; it has no {', '.join(missing) or 'towers'}"
        )
    known = found.get("preprocess_cfg") or {}
    if inner["text_cfg"].get("hf_tokenizer_name") and (folder := own_tokenizer(path)):
        # Of the files beside it, and not of the hub as it is by now.
        inner = {**inner, "text_cfg": {**inner["text_cfg"], "hf_tokenizer_name": folder}}
    return inner, known if isinstance(known, dict) else {}


def _no_tag(name: str, tag: str) -> str:
    other = name.removesuffix(SUFFIX) if name.endswith(SUFFIX) else f"{name}{SUFFIX}"
    if tag_settings(other, tag):
        return f"{name} has no tag {tag}, but {other} has"
    return f"{name} has no tag {tag}{nearest(tag, tags_of(name)) if tags_of(name) else ''}"
