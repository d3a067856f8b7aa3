"""The plan of the pool: the number of pairs of each concept, and the defect of each pair. Draws no pixels."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from benchmarks.quality.pool.sources import Int64

CLOTHES_PAIRS, CLASS_RATIO = 13_000, 20.0
EMOJI_PAIRS, EMOJI_EXPONENT = 11_000, 0.8
# The share of each kind; what is left is clean, or a near-duplicate where the concept has many.
SHARES = {"swapped": 0.28, "boilerplate": 0.05, "noise": 0.05}
DUPLICATES, DUPLICATES_ELSEWHERE, COPIES = 0.6, 0.05, 25
HEAVY_CLASSES, HEAVY_EMOJI = 3, 100


class Kind(StrEnum):
    """What was done to a pair; every pair has exactly one kind."""

    CLEAN = "clean"
    NEAR_DUPLICATE = "near_duplicate"
    SWAPPED = "swapped"
    BOILERPLATE = "boilerplate"
    NOISE = "noise"


@dataclass(frozen=True, slots=True)
class Plan:
    """One entry a pair, in the order of concepts; classes come first, then emoji.

    Attributes
    ----------
    concept : int64 (n,), 0 to 9 a class, 10 and above an emoji.
    caption : int64 (n,), the concept that the caption names: another one for swapped pairs.
    kind : object (n,), a `Kind`.
    original : int64 (n,), which picture of its concept a pair shows.
    """

    concept: Int64
    caption: Int64
    kind: npt.NDArray[np.object_]
    original: Int64


def planned(classes: int, concepts: int, seed: int, scale: float = 1.0) -> Plan:
    """Plan a pool of some classes of clothes and concepts of emoji; `scale` is its share of the whole pool's pairs."""
    random = np.random.default_rng((seed, 2))
    sizes = np.concatenate(
        [_class_sizes(classes, CLOTHES_PAIRS * scale, random), _emoji_sizes(concepts, EMOJI_PAIRS * scale)]
    )
    concept = np.repeat(np.arange(classes + concepts), sizes)
    heavy = np.zeros(len(sizes), dtype=bool)
    heavy[np.argsort(-sizes[:classes])[[0, 2, 4][:HEAVY_CLASSES]]] = True
    # Every second of the most frequent concepts, as logos and memes are.
    heavy[classes : classes + 2 * HEAVY_EMOJI : 2] = True
    kind = _kinds(heavy[concept], random)
    place = np.arange(len(concept)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    copied = random.integers(0, 1 << 30, len(concept)) % np.maximum(sizes[concept] // COPIES, 1)
    original = np.where(kind == Kind.NEAR_DUPLICATE, copied, place)
    return Plan(concept, _captions(concept, kind, random), kind, original)


def _class_sizes(classes: int, pairs: float, random: np.random.Generator) -> Int64:
    """Return sizes that fall geometrically, in random order."""
    falling = CLASS_RATIO ** (-np.arange(classes) / (classes - 1))
    sizes: Int64 = np.round(pairs * falling / falling.sum()).astype(np.int64)
    return random.permutation(sizes)


def _emoji_sizes(concepts: int, pairs: float) -> Int64:
    falling = np.arange(1, concepts + 1) ** -EMOJI_EXPONENT
    sizes: Int64 = np.maximum(np.round(pairs * falling / falling.sum()), 1).astype(np.int64)
    return sizes


def _kinds(heavy: npt.NDArray[np.bool_], random: np.random.Generator) -> npt.NDArray[np.object_]:
    kind = np.full(len(heavy), Kind.CLEAN, dtype=object)
    kind[random.random(len(heavy)) < np.where(heavy, DUPLICATES, DUPLICATES_ELSEWHERE)] = Kind.NEAR_DUPLICATE
    drawn, upper = random.random(len(heavy)), np.cumsum(list(SHARES.values()))
    for name, low, high in zip(SHARES, [0.0, *upper], upper, strict=False):
        kind[(drawn >= low) & (drawn < high)] = Kind(name)
    return kind


def _captions(concept: Int64, kind: npt.NDArray[np.object_], random: np.random.Generator) -> Int64:
    """Return what captions name: of a swapped pair another concept, as often as the pool has it."""
    named = concept.copy()
    wrong = np.flatnonzero(kind == Kind.SWAPPED)
    while len(wrong):
        named[wrong] = concept[random.integers(len(concept), size=len(wrong))]
        wrong = wrong[named[wrong] == concept[wrong]]
    return named
