"""Heads: a linear layer, or a small perceptron, over image embeddings, such as LAION's aesthetic predictors."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors.numpy

from filtering.config.filters import HeadFilter
from filtering.config.head import Head
from filtering.core.errors import InputError, first_line
from filtering.core.portable_math import exps, matrix_product
from filtering.embedding.artifacts import unit_rows
from filtering.filters.exclusion import Blocks
from filtering.filters.stored import keep
from filtering.shards.metadata import array_names, read_array
from filtering.storage.listed import open_listed
from filtering.storage.store import Store, checksum
from filtering.storage.versions import Version, deletion_refused

HEAD_NAME = "{}.head.npz"
# Of larger ones the products of several layers overflow a float32.
LARGEST = 1e12
ARRAYS = "weight and bias, or weight and bias of each layer, such as layers.0.weight"
# A layer's number and what it is, behind any other name.
LAYER = re.compile(r"(?:.*?\.)??(?:(\d+)\.)?(weight|bias)")
Float32Array = npt.NDArray[np.float32]
# Arrays by `weight 0`, `bias 0`, `weight 1`, ...: layers in order, float32 (out, in) and (out,).
Layers = dict[str, Float32Array]


def head_values(images: Float32Array, layers: Mapping[str, npt.NDArray[Any]], rule: Head, where: str) -> Float32Array:
    """Return what a head makes of image embeddings of length 1, float32 (n, d): float32 (n,).

    InputError that begins with `where` if the head takes vectors of another length.
    """
    taken = layers["weight 0"].shape[1]
    if images.shape[1] != taken:
        raise InputError(f"{where}: {rule.weights} takes vectors of {taken} numbers, images have {images.shape[1]}")
    values, count = images, len(layers) // 2
    for number in range(count):
        values = matrix_product(values, layers[f"weight {number}"].T) + layers[f"bias {number}"]
        if rule.activation == "relu" and number + 1 < count:
            values = np.maximum(values, 0)
    found = values[:, 0]
    return np.asarray(1 / (1 + exps(-found)) if rule.output == "sigmoid" else found, dtype=np.float32)


def read_head(rule: Head, version: Version | None = None) -> Layers:
    """Return the layers of a head's file; InputError if it holds none that follow each other and end in one number.

    RunError if it does not have the version, where one is given.
    """
    url = rule.weights
    try:
        named = _tensors(url, version) if url.endswith(".safetensors") else _arrays(url, version)
    except FileNotFoundError:
        raise InputError(f"{url} is not there; check the path or URL") from None
    except IsADirectoryError:
        raise InputError(f"{url} is a folder; name the file of weights in it") from None
    layers = _layers(url, named)
    width = None
    for number in range(len(layers) // 2):
        weight, bias = layers[f"weight {number}"], layers[f"bias {number}"]
        fits = weight.ndim == 2 and bias.shape == weight.shape[:1] and width in (None, weight.shape[1])
        if not fits or not weight.size or not (np.isfinite(weight).all() and np.isfinite(bias).all()):
            raise InputError(f"{url}: layer {number} of shape {weight.shape} does not fit, or is not finite")
        width = len(weight)
    if width != 1:
        raise InputError(f"{url}: its last layer gives {width} numbers; it must give one")
    return layers


def _layers(url: str, named: Mapping[str, npt.NDArray[Any]]) -> Layers:
    found = {(int(match[1] or 0), match[2]): name for name in named if (match := LAYER.fullmatch(name))}
    if not found or len(found) < len(named):
        raise InputError(f"{url} holds {', '.join(sorted(named)[:4]) or 'nothing'}; it must hold {ARRAYS}")
    layers = Layers()
    for place, number in enumerate(sorted({number for number, _ in found})):
        if (number, "weight") not in found:
            raise InputError(f"{url}: has a bias of layer {number}, and no weight of it")
        weight = _numbers(url, found[number, "weight"], named)
        bias = _numbers(url, found[number, "bias"], named) if (number, "bias") in found else np.zeros(len(weight))
        layers |= {f"weight {place}": weight, f"bias {place}": np.asarray(bias, dtype=np.float32).reshape(-1)}
    return layers


def _numbers(url: str, name: str, named: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[np.float32]:
    """Return an array of a layer as float32; InputError if it holds no numbers, or such as overflow when multiplied."""
    given = named[name]
    if given.dtype.kind not in "fiu" or given.ndim == 0:
        raise InputError(f"{url}: {name} holds {given.dtype} of shape {given.shape}; it must hold real numbers")
    with np.errstate(over="ignore"):
        found = np.asarray(given, dtype=np.float32)
    if found.size and np.isfinite(found).all() and np.abs(found).max() > LARGEST:
        raise InputError(f"{url}: {name} holds numbers above {LARGEST:g}")
    return found


def _arrays(url: str, version: Version | None) -> dict[str, npt.NDArray[Any]]:
    if not url.endswith(".npz"):
        raise InputError(f"{url} is neither .npz nor .safetensors; write the weights of the head as one of these")
    return {name: np.array(read_array(url, name, version)) for name in array_names(url, version)}


def _tensors(url: str, version: Version | None) -> dict[str, npt.NDArray[Any]]:
    with open_listed(url, version) as stream:
        data = stream.read()
    try:
        return dict(safetensors.numpy.load(data))
    except Exception as error:
        # Errors of every kind, for bytes of every kind.
        raise InputError(f"{url}: is no safetensors file ({first_line(error)})") from None


def head_identity(rule: Head) -> str:
    """Return what tells a head's weights from others; RunError if the file was deleted meanwhile."""
    with deletion_refused(rule.weights):
        return _identity(read_head(rule))


def _identity(layers: Layers) -> str:
    parts = [repr((name, one.shape)).encode() + np.ascontiguousarray(one).tobytes() for name, one in layers.items()]
    return checksum(b"".join(parts))[:16]


@dataclass(frozen=True, slots=True)
class StoredHead:
    """An object with the layers of a head: all workers, and a run that is resumed, read the same ones."""

    store: Store
    name: str

    def read(self) -> Layers:
        """Return the layers."""
        return self.store.read_arrays(self.name)

    def write(self, layers: Layers) -> None:
        """Write the layers."""
        self.store.write_arrays(self.name, dict(layers))


def stored_head(rule: HeadFilter, number: int, identity: str, store: Store) -> StoredHead:
    """Write the layers of filter `number` unless the store has them, and return them.

    RunError if they are others than those of `identity`, by which the stage is named.
    """
    found = StoredHead(store, HEAD_NAME.format(number))
    keep(found, rule.weights, lambda: read_head(rule), _identity, identity)
    return found


def head_passes(count: int, rule: HeadFilter, head: StoredHead, blocks: Blocks) -> npt.NDArray[np.bool_]:
    """Return which of some rows have a value within the bounds; bool (n,). `blocks` yields their image vectors."""
    passes, layers = np.ones(count, dtype=bool), _read(head)
    low = -np.inf if rule.min is None else rule.min
    high = np.inf if rule.max is None else rule.max
    for block, vectors in blocks():
        values = head_values(unit_rows(vectors), layers, rule, "filters.head")
        passes[block] = (values >= low) & (values <= high)
    return passes


@cache
def _read(head: StoredHead) -> Layers:
    return head.read()
