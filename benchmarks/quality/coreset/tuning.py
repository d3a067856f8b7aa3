"""Choosing knobs on validation data: first what a method tunes by rate, then what it has in common for all rates.

By rate: the dropped share, FlexRand's split, DUAL's exponent, TDDS's looks. In common, chosen at two rates: k and
gamma_reverse, what strata are of and how many, DUAL's looks, InfoMax's alpha. Every method that has the knob gets the
same grid, but InfoMax and SES drop what was found for the others, and the grid of the recommended method is finer. The
mean accuracy over the seeds decides, ties go to the first.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from benchmarks.quality.coreset.knobs import Knobs
from benchmarks.quality.coreset.trainings import Bench, Training
from benchmarks.quality.coreset.tuned import CHOSEN, Chosen, knobs_of

Several = list[dict[str, Any]]

DROPS = {
    0.3: (0.0, 0.05),
    0.5: (0.0, 0.05, 0.1),
    0.7: (0.0, 0.05, 0.1),
    0.8: (0.05, 0.1, 0.2),
    0.9: (0.05, 0.1, 0.2, 0.3),
}
# For the method that docs/methods.md recommends: what `drop_hardest` should be at other rates is read off these.
FINER = {
    0.3: (0.0, 0.02, 0.05),
    0.5: (0.0, 0.02, 0.05),
    0.7: (0.02, 0.05, 0.08),
    0.8: (0.02, 0.05, 0.08),
    0.9: (0.05, 0.08, 0.1, 0.15),
}
DEFAULT = "d2 in strata"
JOINED = (DEFAULT, "d2 in strata, hardness", "d2", "d2, self-scaled", "d2, normalised")
DROPPING = ("ccs", *JOINED)
BY_RATE: dict[str, Several] = {
    "dlc + flexrand": [{"split": split} for split in (0.5, 0.3, 0.7, 0.9)],
    "dual": [{"exponent": exponent} for exponent in (5.5, 2.5, 1.75, 1.0)],
    "tdds": [{"looks": looks} for looks in (20, 15, 10)],
}
GRAPHS: Several = [{"k": k, "gamma": gamma} for k, gamma in ((10, 1.0), (10, 0.3), (5, 0.1))]
COMMON: dict[str, Several] = {
    **dict.fromkeys((*JOINED, "d2, uniform", "d2, prototypicality"), GRAPHS),
    DEFAULT: [*GRAPHS, {"strata": 20}, {"strata": 100}, {"difficulty": "mean"}, {"difficulty": "dual"}],
    "dual": [{"looks": 20}, {"looks": 10}],
    "infomax": [{"alpha": alpha} for alpha in (0.3, 0.1, 0.03, 1.0)],
}
COMMON_RATES = (0.7, 0.9)

Cell = tuple[str, float]
Means = dict[tuple[str, float, Knobs], float]


@dataclass(frozen=True, slots=True)
class Tuning:
    """A tuning: the methods and rates, seeds of each candidate, iterations of each training, and where they run."""

    methods: Sequence[str]
    rates: Sequence[float]
    seeds: int
    iterations: int
    bench: Bench

    def chosen(self) -> Chosen:
        """Return the best knobs by method and rate, of the methods that have any."""
        best = self._best_of_each()
        best |= self._best_in_common(best)
        tuned = [method for method in self.methods if method in (*DROPPING, *BY_RATE, *COMMON)]
        return {method: {str(rate): best[method, rate] for rate in self.rates} for method in tuned}

    def _best_of_each(self) -> dict[Cell, Knobs]:
        cells = {(method, rate): _candidates(method, rate) for method in self.methods for rate in self.rates}
        means = self._means((*cell, knobs) for cell, several in cells.items() if len(several) > 1 for knobs in several)
        return {cell: max(several, key=lambda knobs: means.get((*cell, knobs), 0)) for cell, several in cells.items()}

    def _best_in_common(self, best: dict[Cell, Knobs]) -> dict[Cell, Knobs]:
        rates = [rate for rate in self.rates if rate in COMMON_RATES]
        methods = [method for method in self.methods if method in COMMON]
        rows = {
            (method, number): [(method, rate, replace(best[method, rate], **values)) for rate in rates]
            for method in methods
            for number, values in enumerate(COMMON[method])
        }
        means = self._means(cell for row in rows.values() for cell in row)
        found: dict[Cell, Knobs] = {}
        for method in methods:
            numbers = range(len(COMMON[method]))
            first = max(numbers, key=lambda number: sum(means[cell] for cell in rows[method, number]))
            found |= {(method, rate): replace(best[method, rate], **COMMON[method][first]) for rate in self.rates}
        return found

    def _means(self, candidates: Iterable[tuple[str, float, Knobs]]) -> Means:
        trainings = {
            candidate: [
                Training("validation", *candidate[:2], seed, candidate[2], self.iterations)
                for seed in range(self.seeds)
            ]
            for candidate in candidates
        }
        by_seed = [training for several in zip(*trainings.values(), strict=True) for training in several]
        done = self.bench.run_all(by_seed)
        return {
            candidate: float(np.mean([done[training.key] for training in several]))
            for candidate, several in trainings.items()
        }


def _candidates(method: str, rate: float) -> list[Knobs]:
    if method in DROPPING:
        return [Knobs(drop=drop) for drop in (FINER if method == DEFAULT else DROPS)[rate]]
    return [replace(knobs_of(CHOSEN, method, rate), **values) for values in BY_RATE.get(method, [{}])]
