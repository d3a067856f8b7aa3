"""Learning complexity: how well masked towers still tell a sample's concept (DLC, arXiv 2402.05356)."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from filtering.concepts.nearest import offer

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
Int32Array = npt.NDArray[np.int32]
Integers = npt.NDArray[np.integer[Any]]

PROTOTYPES = "prototypes.npz"
# The released code's share of the remaining weights that stays when a mask grows.
KEPT_AT_ONCE = 0.98
# A smaller distance counts as this one: its inverse is a logit.
LEAST_DISTANCE = 1e-6
BLOCK_ROWS = 64
BLOCK_PROTOTYPES = 16_384


def capacities(masks: int, schedule: str) -> Float64Array:
    """Return the share of weights left at each evaluation k = 0 .. `masks` - 1, float64 (masks,), descending from 1.

    ``geometric``: .98 ** k, as the released code has it, which ends at .37 of the weights with the paper's 50 masks.
    ``linear``: 1 - k / masks, as the paper's text has it: 50 masks leave 1, .98, .96, ... .02. ``random``: as many as
    geometric; the weights are then taken at random, not the smallest first.
    """
    steps = np.arange(masks, dtype=np.float64)
    return np.asarray(1 - steps / masks if schedule == "linear" else KEPT_AT_ONCE**steps, dtype=np.float64)


class Complexity:
    """Adds up the losses of n samples, one evaluation at a time (DLC, arXiv 2402.05356).

    A loss is the cross-entropy of a sample's label, where the logits are the inverse Euclidean distances of its
    features to the prototypes, float32 (C, d); a distance below 1e-6 counts as 1e-6. A prototype of NaN is compared
    with no sample. `candidates`, int32 (n, c), are those that each sample is compared with, its own among them, each
    once, -1 for none; unless given, all.
    """

    def __init__(self, prototypes: Float32Array, labels: Integers, candidates: Int32Array | None = None) -> None:
        if candidates is None:
            candidates = np.broadcast_to(np.arange(len(prototypes), dtype=np.int32), (len(labels), len(prototypes)))
        self.prototypes, self.candidates = prototypes, candidates
        self.own = candidates == labels[:, None]
        self.sums = np.zeros(len(labels))
        self.evaluations = 0

    def add(self, features: Float32Array) -> None:
        """Add the loss of the samples' features from a masked tower, float32 (n, d)."""
        self.evaluations += 1
        for start in range(0, len(features), BLOCK_ROWS):
            block = slice(start, start + BLOCK_ROWS)
            logits = self._logits(features[block], self.candidates[block])
            self.sums[block] += _log_sums(logits) - logits[self.own[block]]

    def scores(self) -> Float32Array:
        """Return the mean loss of each sample so far, float32 (n,), higher for a harder sample."""
        return (self.sums / max(self.evaluations, 1)).astype(np.float32)

    def _logits(self, features: Float32Array, candidates: Int32Array) -> Float64Array:
        distances = np.linalg.norm(self.prototypes[candidates] - features[:, None], axis=2).astype(np.float64)
        logits: Float64Array = 1 / np.maximum(distances, LEAST_DISTANCE)
        logits[(candidates < 0) | np.isnan(logits)] = -np.inf
        return logits


def candidate_prototypes(features: Float32Array, prototypes: Float32Array, labels: Integers, count: int) -> Int32Array:
    """Return the prototypes that each sample is to be compared with: its own, and the `count` nearest of all.

    With more prototypes than this the loss is that of the paper without its smallest terms, those of the prototypes
    that the whole tower puts farthest away. Features, float32 (n, d), are the whole tower's; no prototype of NaN is a
    candidate. Int32 (n, 1 + min(count, C)), each once, its own first, -1 where there are no more.
    """
    nearest = np.full((len(features), min(count, len(prototypes))), -1, dtype=np.int32)
    distances = np.full(nearest.shape, np.inf, dtype=np.float32)
    for first in range(0, len(prototypes), BLOCK_PROTOTYPES):
        block = prototypes[first : first + BLOCK_PROTOTYPES]
        # Squared, without the sample's own length, which is the same for all of its prototypes.
        squared = np.einsum("cd,cd->c", block, block) - 2 * (features @ block.T)
        offer(squared, np.arange(len(features)), first, nearest, distances)
    nearest[nearest == labels[:, None]] = -1
    return np.concatenate([labels[:, None].astype(np.int32), nearest], axis=1)


@dataclass(frozen=True, slots=True)
class ConceptSums:
    """The contribution of some samples to the prototypes of their concepts.

    `concepts`, int32 (c,), ascending, are those that have a sample, `sums`, float64 (c, d), of unit-norm embeddings.
    """

    concepts: Int32Array
    sums: Float64Array
    counts: npt.NDArray[np.int64]


def concept_sums(images: Float32Array, homes: Integers) -> ConceptSums:
    """Return a shard's contribution to the prototypes, from unit-norm rows, float32 (n, d), and the concept of each."""
    concepts, place, counts = np.unique(homes, return_inverse=True, return_counts=True)
    sums = np.zeros((len(concepts), images.shape[1]))
    _add_rows(images, place, sums)
    return ConceptSums(concepts.astype(np.int32), sums, counts)


def mean_prototypes(parts: Iterable[ConceptSums], concepts: int, dimension: int) -> Float32Array:
    """Return the mean embedding of each concept, float32 (`concepts`, `dimension`), NaN where nothing was summed.

    Parts are added one after the other, always in the order of the shards.
    """
    sums, counts = np.zeros((concepts, dimension)), np.zeros(concepts)
    for part in parts:
        sums[part.concepts] += part.sums
        counts[part.concepts] += part.counts
    sums[counts == 0] = np.nan
    sums /= np.maximum(counts, 1)[:, None]
    return sums.astype(np.float32)


@njit(cache=True)  # type: ignore[untyped-decorator]
def _add_rows(rows: Float32Array, places: npt.NDArray[np.int64], sums: Float64Array) -> None:
    for at in range(len(rows)):
        sums[places[at]] += rows[at]


def _log_sums(logits: Float64Array) -> Float64Array:
    peaks = logits.max(axis=1)
    sums: Float64Array = peaks + np.log(np.exp(logits - peaks[:, None]).sum(axis=1))
    return sums
