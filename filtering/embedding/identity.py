"""What tells one model's vectors from another's, and workers that load other bytes than the run began with."""

import hashlib
import platform
from collections.abc import Callable
from itertools import zip_longest
from pathlib import Path
from typing import Any, TypeVar

from filtering.config.embedding import Embedding
from filtering.core.errors import InputError
from filtering.embedding.checkpoint import MODEL, ModelFiles, model_files
from filtering.embedding.encoders import PinnedEmbedding, encoder_settings
from filtering.embedding.named_files import files_in
from filtering.embedding.text_share import detects_text, text_detector_identity
from filtering.storage.store import digest

Loaded = TypeVar("Loaded")


def pinned(settings: Embedding) -> PinnedEmbedding:
    """Return the section with the contents of its model's files as they are now."""
    return PinnedEmbedding.model_construct(
        settings.model_fields_set,
        **dict(settings),
        contents=contents_of(settings),
        detector=text_detector_identity() if detects_text(settings.signals) else "",
        of_encoders={name: contents_of(encoder_settings(settings, name)) for name in settings.encoders},
    )


def check_same_text_detector(settings: Embedding) -> None:
    """Refuse a machine whose detector of text is not the one that the run began with: InputError."""
    if not isinstance(settings, PinnedEmbedding) or not detects_text(settings.signals):
        return
    if text_detector_identity() != settings.detector:
        raise InputError(
            f"embedding.signals: rapidocr on {platform.node()} is not the one that this run began with; install the "
            "same version on all nodes, then give the same command again"
        )


def model_contents(files: ModelFiles) -> list[str]:
    """Return the SHA-256 of the file that defines the model, if there is one, and of its weights, or their tag.

    After them comes a digest of each file or folder that the model's definition names.
    """
    own = [_content(path) for path in (files.config, files.pretrained) if path]
    return own + [digest([[path.name, _content(str(path))] for path in files_in(one)]) for one in files.named]


def contents_of(settings: Embedding) -> tuple[str, ...]:
    """Return `model_contents` of the section's model: those that the run began with, if it has begun."""
    return settings.contents if isinstance(settings, PinnedEmbedding) else tuple(model_contents(model_files(settings)))


def model_identity(settings: Embedding) -> list[Any]:
    """Return what tells one model's vectors from another's: names, the hash of a file's content, the preprocessing."""
    files, tag = model_files(settings), settings.pretrained if settings.weights else None
    return [
        files.name,
        *contents_of(settings),
        *([tag] if tag else []),
        str(files.preprocessing),
        files.preprocessing.fill_color,
        # What is not given is then the model's own.
        *([files.images_alone.model_dump()] if files.images_alone is not None else []),
    ]


def as_begun(settings: Embedding, files: ModelFiles, load: Callable[[], Loaded]) -> Loaded:
    """Return what `load` makes of files; InputError if they are not, or no longer, those the run began with.

    They may have been written again since, and on another machine another file may lie under the same path.
    """
    _check(settings, files)
    before = _versions(files)
    found = load()
    if _versions(files) != before:
        _check(settings, files)
    return found


def _check(settings: Embedding, files: ModelFiles) -> None:
    if not isinstance(settings, PinnedEmbedding):
        return
    named = [(key, path) for key, path in ((MODEL, files.config), (files.key, files.pretrained)) if path]
    named += [(MODEL, path) for path in files.named]
    # Fewer where a tokenizer's folder is not there: its name is then taken for a repository's.
    for of_file, now, then in zip_longest(named, model_contents(files), settings.contents):
        if now != then:
            key, path = of_file or named[0]
            raise InputError(
                f"{key}: {path} on {platform.node()} is not the file that this run began with; give all nodes the same "
                "file, then the same command again"
            )


def _versions(files: ModelFiles) -> list[tuple[str, int, int, int]]:
    paths = [Path(path) for path in (files.config, files.pretrained) if path]
    paths += [path for one in files.named for path in files_in(one)]
    found = [(str(path), path.stat()) for path in paths if path.is_file()]
    return [(path, status.st_ino, status.st_size, status.st_mtime_ns) for path, status in found]


def _content(path: str) -> str:
    if not Path(path).is_file():
        return path
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
