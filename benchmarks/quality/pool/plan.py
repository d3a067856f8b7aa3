"""The plan of a pool: the number of pairs of each concept, and the defect of each pair. Draws no pixels."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from benchmarks.quality.pool.settings import BASE, PoolSettings
from benchmarks.quality.pool.sources import Int64

CLASS_PAIRS, CLASS_RATIO = 13_000, 20.0
CONCEPT_PAIRS, CONCEPT_EXPONENT = 11_000, 0.8
# A group of near-duplicates for as many pairs of a concept.
COPIES = 25
HEAVY_CLASSES, HEAVY_CONCEPTS = 3, 100


class Kind(StrEnum):
    """What was done to a pair; every pair has exactly one kind."""

    CLEAN = "clean"
    NEAR_DUPLICATE = "near_duplicate"
    SWAPPED = "swapped"
    BOILERPLATE = "boilerplate"
    NOISE = "noise"
    # Near-duplicates whose group has a wrong caption in common, word by word or in other words.
    REPEATED_WRONG = "repeated_wrong"
    REWORDED_WRONG = "reworded_wrong"


RIGHT = (Kind.CLEAN, Kind.NEAR_DUPLICATE)
# A caption of another thing than the picture's.
MISMATCHED = (Kind.SWAPPED, Kind.REPEATED_WRONG, Kind.REWORDED_WRONG)
SHARED_WRONG = (Kind.REPEATED_WRONG, Kind.REWORDED_WRONG)


@dataclass(frozen=True, slots=True)
class Plan:
    """One entry a pair, in the order of concepts; classes come first, then the others.

    Attributes
    ----------
    concept : int64 (n,), 0 to 9 a class, 10 and above another concept.
    caption : int64 (n,), the concept that the caption names: another one for mismatched pairs.
    kind : object (n,), a `Kind`.
    original : int64 (n,), which picture of its concept a pair shows.
    """

    concept: Int64
    caption: Int64
    kind: npt.NDArray[np.object_]
    original: Int64


def planned(classes: int, concepts: int, seed: int, scale: float = 1.0, settings: PoolSettings = BASE) -> Plan:
    """Plan a pool of some classes and other concepts; `scale` is its share of the whole pool's pairs."""
    random = np.random.default_rng((seed, 2))
    sizes = np.concatenate(
        [_class_sizes(classes, CLASS_PAIRS * scale, random), _concept_sizes(concepts, CONCEPT_PAIRS * scale)]
    )
    concept = np.repeat(np.arange(classes + concepts), sizes)
    heavy = np.zeros(len(sizes), dtype=bool)
    heavy[np.argsort(-sizes[:classes])[[0, 2, 4][:HEAVY_CLASSES]]] = True
    # Every second of the most frequent concepts, as logos and memes are.
    heavy[classes : classes + 2 * HEAVY_CONCEPTS : 2] = True
    kind = _kinds(heavy[concept], random, settings)
    place = np.arange(len(concept)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    copied = random.integers(0, 1 << 30, len(concept)) % np.maximum(sizes[concept] // COPIES, 1)
    original = np.where(kind == Kind.NEAR_DUPLICATE, copied, place)
    plan = Plan(concept, _captions(concept, kind, random), kind, original)
    return _with_wrong_groups(plan, settings, np.random.default_rng((seed, 9)))


def _class_sizes(classes: int, pairs: float, random: np.random.Generator) -> Int64:
    """Return sizes that fall geometrically, in random order."""
    falling = CLASS_RATIO ** (-np.arange(classes) / (classes - 1))
    sizes: Int64 = np.round(pairs * falling / falling.sum()).astype(np.int64)
    return random.permutation(sizes)


def _concept_sizes(concepts: int, pairs: float) -> Int64:
    falling = np.arange(1, concepts + 1) ** -CONCEPT_EXPONENT
    sizes: Int64 = np.maximum(np.round(pairs * falling / falling.sum()), 1).astype(np.int64)
    return sizes


def _kinds(
    heavy: npt.NDArray[np.bool_], random: np.random.Generator, settings: PoolSettings
) -> npt.NDArray[np.object_]:
    kind = np.full(len(heavy), Kind.CLEAN, dtype=object)
    copied = np.where(heavy, settings.duplicates, settings.duplicates_elsewhere)
    kind[random.random(len(heavy)) < copied] = Kind.NEAR_DUPLICATE
    shares = settings.shares()
    drawn, upper = random.random(len(heavy)), np.cumsum(list(shares.values()))
    for name, low, high in zip(shares, [0.0, *upper], upper, strict=False):
        kind[(drawn >= low) & (drawn < high)] = Kind(name)
    return kind


def _captions(concept: Int64, kind: npt.NDArray[np.object_], random: np.random.Generator) -> Int64:
    """Return what captions name: of a swapped pair another concept, as often as the pool has it."""
    named = concept.copy()
    wrong = np.flatnonzero(kind == Kind.SWAPPED)
    named[wrong] = _others(concept, wrong, random)
    return named


def _others(concept: Int64, rows: Int64, random: np.random.Generator) -> Int64:
    """Return another concept for each of some pairs, as often as the pool has it."""
    named = concept[rows].copy()
    while len(wrong := np.flatnonzero(named == concept[rows])):
        named[wrong] = concept[random.integers(len(concept), size=len(wrong))]
    return named


def _with_wrong_groups(plan: Plan, settings: PoolSettings, random: np.random.Generator) -> Plan:
    """Give groups of near-duplicates a wrong caption in common."""
    rows = np.flatnonzero(plan.kind == Kind.NEAR_DUPLICATE)
    if not settings.wrong_groups or not len(rows):
        return plan
    _, first, group = np.unique(
        np.stack([plan.concept[rows], plan.original[rows]]), axis=1, return_index=True, return_inverse=True
    )
    wrong, reworded = (random.random(len(first)) < share for share in (settings.wrong_groups, settings.reworded_groups))
    names = _others(plan.concept, rows[first], random)
    kind, caption = plan.kind.copy(), plan.caption.copy()
    changed = wrong[group]
    kind[rows[changed]] = np.array(SHARED_WRONG, dtype=object)[reworded[group].astype(np.int64)][changed]
    caption[rows[changed]] = names[group][changed]
    return Plan(plan.concept, caption, kind, plan.original)
