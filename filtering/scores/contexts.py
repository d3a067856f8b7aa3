"""The arrays that scorers of images need besides a shard: centroids and targets, read once for all shards.

`model` is the `embedding` section of the configuration; None for metadata, which has no model.
"""

from pathlib import PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from filtering.concepts.artifacts import read_centroids, read_concept_centroids, read_sections
from filtering.concepts.nearest import CentroidIndex
from filtering.config.run import Embedding
from filtering.config.scores import Targets
from filtering.core.errors import InputError
from filtering.scores.norm_sim import read_targets
from filtering.storage.store import Store

Float32Array = npt.NDArray[np.float32]
Context = dict[str, npt.NDArray[Any]]
FILES = (".npy", ".npz", ".parquet")


def concept_context(settings: None, model: Embedding | None, concepts: Store) -> Context:
    """Return the centroid of each concept, float32 (C, d)."""
    return {"centroids": read_concept_centroids(concepts)}


def targets_context(settings: Targets, model: Embedding | None, concepts: Store) -> Context:
    """Return the targets as unit rows, float32 (m, d)."""
    return {"targets": _targets(settings.targets, model, read_centroids(concepts).vectors.shape[1])}


def near_targets_context(settings: Targets, model: Embedding | None, concepts: Store) -> Context:
    """Return which concepts are the nearest of some target, bool (C,): DataComp's image-based filter (2304.14108)."""
    centroids = read_centroids(concepts)
    targets = _targets(settings.targets, model, centroids.vectors.shape[1])
    near = np.zeros(len(centroids.vectors), dtype=bool)
    near[CentroidIndex(centroids).nearest(targets, 1)[0][:, 0]] = True
    return {"near": np.repeat(near, read_sections(concepts))}


def _targets(url: str, model: Embedding | None, dimension: int) -> Float32Array:
    if PurePosixPath(url.partition("#")[0]).suffix in FILES:
        targets = read_targets(url)
    elif model is None:
        raise InputError(
            f"targets: {url} is a folder of images, which metadata has no model for; give a file of vectors"
        )
    else:
        # Loads torch, which takes seconds and is needed for this alone.
        from filtering.scores.target_images import embedded_images

        targets = embedded_images(url, model)
    if targets.shape[1] != dimension:
        raise InputError(f"targets: {url} has {targets.shape[1]} dimensions, the pool's images have {dimension}")
    return targets
