"""What a selection made of the planted truth, beside random choices of the same size."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from filtering.demo.pool import Kind

Mask = npt.NDArray[np.bool_]
Figure = Callable[[Mask], float]
RANDOM_CHOICES = 100


class Measure(TypedDict):
    """One figure of a selection, and its mean over 100 seeded random choices of the same size.

    `percent`: the figures are shares between 0 and 1.
    """

    name: str
    selected: float
    random: float
    percent: bool


def measures(truth: pa.Table, kept: Sequence[str], concepts: dict[str, int], total_concepts: int) -> list[Measure]:
    """Compare the kept uids with `truth`, the usable samples' rows of truth.parquet.

    `concepts` is the nearest concept of each usable uid, of the `total_concepts` that the run found.
    """
    rows = truth.to_pydict()
    uids = np.array(rows["uid"])
    selected = np.isin(uids, np.array(list(kept)))
    random = np.random.default_rng(0)
    choices = [_random_choice(random, len(uids), int(selected.sum())) for _ in range(RANDOM_CHOICES)]
    figures = _figures(rows, np.array([concepts[uid] for uid in rows["uid"]]), total_concepts)
    found = []
    for name, (figure, percent) in figures.items():
        random_mean = float(np.mean([figure(choice) for choice in choices]))
        found.append(Measure(name=name, selected=figure(selected), random=random_mean, percent=percent))
    return found


def _figures(
    rows: Mapping[str, list[Any]], concepts: npt.NDArray[np.int64], total_concepts: int
) -> dict[str, tuple[Figure, bool]]:
    """Return each figure as a function of which samples are kept, by its name; and whether it is a share."""
    kind, held_out = np.array(rows["kind"]), np.array(rows["held_out"], dtype=bool)
    bases = np.unique(rows["base"], return_inverse=True)[1]
    groups = np.unique([group or "" for group in rows["group"]], return_inverse=True)[1]

    def dropped(samples: Mask) -> Figure:
        return lambda kept: float(1 - kept[samples].mean())

    def at_most_one_kept(duplicates: Kind) -> Figure:
        planted = np.unique(groups[kind == duplicates])
        return lambda kept: float((np.bincount(groups[kept], minlength=groups.max() + 1)[planted] <= 1).mean())

    return {
        "swapped captions dropped": (dropped(kind == Kind.SWAPPED), True),
        "  of pictures the model never saw": (dropped((kind == Kind.SWAPPED) & held_out), True),
        "exact duplicates: at most one kept": (at_most_one_kept(Kind.EXACT_DUPLICATE), True),
        "near duplicates: at most one kept": (at_most_one_kept(Kind.NEAR_DUPLICATE), True),
        # All skin tones and duplicates of a picture are counted once.
        "different pictures kept": (lambda kept: float(len(np.unique(bases[kept]))), False),
        f"concepts in effect, of {total_concepts}": (lambda kept: _effective(concepts[kept]), False),
    }


def _effective(concepts: npt.NDArray[np.int64]) -> float:
    """Return exp(entropy) of samples over their concepts."""
    counts = np.bincount(concepts)
    shares = counts[counts > 0] / max(counts.sum(), 1)
    return float(np.exp(-(shares * np.log(shares)).sum()))


def _random_choice(random: np.random.Generator, samples: int, keep: int) -> Mask:
    chosen = np.zeros(samples, dtype=bool)
    chosen[random.permutation(samples)[:keep]] = True
    return chosen
