"""The arrays that scorers of images need besides a shard: centroids and targets, read once for all shards."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from filtering.concepts.artifacts import read_concept_centroids, read_index, read_sections
from filtering.config.embedding import Embedding
from filtering.config.scores import Targets
from filtering.core.errors import InputError
from filtering.embedding.target_vectors import read_targets, target_file
from filtering.storage.listed import read_listed
from filtering.storage.store import Store
from filtering.storage.versions import Version

if TYPE_CHECKING:
    from filtering.embedding.model import ClipModel

Float32Array = npt.NDArray[np.float32]
Context = dict[str, npt.NDArray[Any]]
# The files that a score reads: URLs with the versions by which its stage is named.
Files = Mapping[str, Version]
IMAGES = (".jpg", ".jpeg", ".png", ".webp")


@dataclass(frozen=True, slots=True)
class ContextSources:
    """What contexts are read from besides a score's parameters.

    `model` embeds images as those of the pool are, None for rows that come with vectors; `dimension` is that of the
    vectors that are scored.
    """

    model: Embedding | None
    concepts: Store
    dimension: int
    files: Files


def concept_context(settings: None, sources: ContextSources) -> Context:
    """Return the centroid of each concept, float32 (C, d)."""
    return {"centroids": read_concept_centroids(sources.concepts)}


def targets_context(settings: Targets, sources: ContextSources) -> Context:
    """Return the targets as unit rows, float32 (m, d)."""
    return {"targets": _targets(settings.targets, sources)}


def near_targets_context(settings: Targets, sources: ContextSources) -> Context:
    """Return which concepts are the nearest of some target, bool (C,): DataComp's image-based filter (2304.14108)."""
    (centroids, index), concepts = read_index(sources.concepts), sources.concepts
    targets = _targets(settings.targets, sources)
    near = np.zeros(len(centroids.steps), dtype=bool)
    near[index.nearest(targets, 1)[0][:, 0]] = True
    return {"near": np.repeat(near, read_sections(concepts))}


def check_targets(url: str) -> None:
    """Refuse targets that are not there or hold nothing; InputError in one line."""
    if target_file(url):
        read_targets(url)
    elif not Store(url).names():
        raise InputError(f"targets: {url} is not there, or holds nothing")


def target_files(url: str) -> list[str]:
    """Return the URLs of the files that targets consist of: one of vectors, or every image of a folder."""
    if found := target_file(url):
        return [found.url]
    folder = Store(url)
    return [folder.path(name) for name in folder.names() if name.lower().endswith(IMAGES)]


def _targets(url: str, sources: ContextSources) -> Float32Array:
    model, dimension, files = sources.model, sources.dimension, sources.files
    if found := target_file(url):
        targets = read_targets(url, files[found.url])
    elif model is None:
        raise InputError(
            f"targets: {url} is a folder of images, which metadata has no model for; give a file of vectors"
        )
    else:
        targets = embedded_images(url, model, files)
    if targets.shape[1] != dimension:
        raise InputError(f"targets: {url} has {targets.shape[1]} dimensions, the pool's images have {dimension}")
    return targets


def embedded_images(url: str, settings: Embedding, files: Files) -> npt.NDArray[np.float32]:
    """Return the unit-norm embeddings of the images of a directory, float32 (m, d), in the order of `files`.

    `files` are the images that the directory held when it was listed, and no others. InputError if there is none, or
    one cannot be decoded; RunError if one is no longer what it was.
    """
    # Loads torch, which takes seconds and is needed for this alone.
    from filtering.embedding.model import ClipModel

    if not files:
        raise InputError(f"targets: {url} holds no image ({', '.join(IMAGES)})")
    model = ClipModel(settings)
    parts = [model.images(model.moved(pixels)) for pixels in _batches(model, list(files.items()), settings.batch_size)]
    return np.concatenate(parts)


def _batches(model: "ClipModel", files: Sequence[tuple[str, Version]], size: int) -> Iterator[npt.NDArray[np.uint8]]:
    for start in range(0, len(files), size):
        yield np.stack([_pixels(model, url, version) for url, version in files[start : start + size]])


def _pixels(model: "ClipModel", url: str, version: Version) -> npt.NDArray[np.uint8]:
    prepared = model.preparation.image(read_listed(url, version))
    if not isinstance(prepared, tuple):
        raise InputError(f"targets: {url} cannot be decoded ({prepared.reason}: {prepared.detail})")
    return prepared[0]
