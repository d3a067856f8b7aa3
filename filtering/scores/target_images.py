"""Target images that a user gives, embedded by the pool's model."""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from filtering.config.run import Embedding
from filtering.core.errors import InputError
from filtering.embedding.model import ClipModel
from filtering.storage.store import Store, read_object

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")


def embedded_images(url: str, settings: Embedding) -> npt.NDArray[np.float32]:
    """Return the unit-norm embeddings of the images of a directory, float32 (m, d), in the order of their names.

    Raises
    ------
    InputError
        If there is none, or one cannot be decoded.
    """
    store = Store(url)
    names = [name for name in store.names() if name.lower().endswith(SUFFIXES)]
    if not names:
        raise InputError(f"targets: {url} holds no image ({', '.join(SUFFIXES)})")
    model = ClipModel(settings)
    parts = [model.images(model.moved(pixels)) for pixels in _batches(model, store, names, settings.batch_size)]
    return np.concatenate(parts)


def _batches(model: ClipModel, store: Store, names: Sequence[str], size: int) -> Iterator[npt.NDArray[np.uint8]]:
    for start in range(0, len(names), size):
        yield np.stack([_pixels(model, store.path(name)) for name in names[start : start + size]])


def _pixels(model: ClipModel, url: str) -> npt.NDArray[np.uint8]:
    prepared = model.preparation.image(read_object(url))
    if not isinstance(prepared, tuple):
        raise InputError(f"targets: {url} cannot be decoded ({prepared.reason}: {prepared.detail})")
    return prepared[0]
