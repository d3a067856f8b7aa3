"""What a selection made of the planted truth, beside random choices of the same size."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from filtering.demo.pool import Kind

Mask = npt.NDArray[np.bool_]
RANDOM_CHOICES = 100


@dataclass(frozen=True, slots=True)
class Measure:
    """One figure of a selection and of random choices of the same size.

    Attributes
    ----------
    name : what is measured.
    selected, random : the figures; `random` is the mean over 100 seeded choices.
    percent : whether they are shares between 0 and 1.
    """

    name: str
    selected: float
    random: float
    percent: bool = True


def measures(truth: pa.Table, kept: Sequence[str], concepts: dict[str, int], total_concepts: int) -> list[Measure]:
    """Compare the kept samples with the planted truth.

    Parameters
    ----------
    truth : pa.Table
        The usable samples' rows of truth.parquet.
    kept : list of str
        Kept uids.
    concepts : dict
        The nearest concept of each usable uid.
    total_concepts : int
        How many concepts the run found.
    """
    rows = truth.to_pydict()
    uids = np.array(rows["uid"])
    selected = np.isin(uids, np.array(list(kept)))
    figures = _Figures(rows, np.array([concepts[uid] for uid in rows["uid"]]))
    random = np.random.default_rng(0)
    choices = [_random_choice(random, len(uids), int(selected.sum())) for _ in range(RANDOM_CHOICES)]
    found = []
    for name, figure, percent in (
        ("swapped captions dropped", figures.swapped_dropped, True),
        ("  of pictures the model never saw", figures.swapped_held_out_dropped, True),
        ("exact duplicates: at most one kept", figures.exact_duplicates, True),
        ("near duplicates: at most one kept", figures.near_duplicates, True),
        ("different pictures kept", figures.pictures, False),
        (f"concepts in effect, of {total_concepts}", figures.effective_concepts, False),
    ):
        found.append(Measure(name, figure(selected), float(np.mean([figure(choice) for choice in choices])), percent))
    return found


class _Figures:
    """Each figure as a function of which samples are kept."""

    def __init__(self, rows: dict[str, list[Any]], concepts: npt.NDArray[np.int64]) -> None:
        self.kind = np.array(rows["kind"])
        self.held_out = np.array(rows["held_out"], dtype=bool)
        self.bases = np.unique(rows["base"], return_inverse=True)[1]
        self.groups = np.unique([group or "" for group in rows["group"]], return_inverse=True)[1]
        self.concepts = concepts

    def swapped_dropped(self, kept: Mask) -> float:
        return float(1 - kept[self.kind == Kind.SWAPPED].mean())

    def swapped_held_out_dropped(self, kept: Mask) -> float:
        return float(1 - kept[(self.kind == Kind.SWAPPED) & self.held_out].mean())

    def exact_duplicates(self, kept: Mask) -> float:
        return self._groups_with_at_most_one(kept, Kind.EXACT_DUPLICATE)

    def near_duplicates(self, kept: Mask) -> float:
        return self._groups_with_at_most_one(kept, Kind.NEAR_DUPLICATE)

    def pictures(self, kept: Mask) -> float:
        """Count pictures, all skin tones and duplicates of one counted once."""
        return float(len(np.unique(self.bases[kept])))

    def effective_concepts(self, kept: Mask) -> float:
        """Return exp(entropy) of the kept samples over the concepts."""
        counts = np.bincount(self.concepts[kept])
        shares = counts[counts > 0] / max(counts.sum(), 1)
        return float(np.exp(-(shares * np.log(shares)).sum()))

    def _groups_with_at_most_one(self, kept: Mask, kind: Kind) -> float:
        groups = np.unique(self.groups[self.kind == kind])
        survivors = np.bincount(self.groups[kept], minlength=self.groups.max() + 1)[groups]
        return float((survivors <= 1).mean())


def _random_choice(random: np.random.Generator, samples: int, keep: int) -> Mask:
    chosen = np.zeros(samples, dtype=bool)
    chosen[random.permutation(samples)[:keep]] = True
    return chosen
