"""Choosing knobs on validation data: first what is dropped, by rate; then k and gamma_reverse, one pair for all rates.

Every method that has the knob gets the same grid, the pair is chosen at two rates. The mean accuracy over the seeds
decides, ties go to the first.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from benchmarks.quality.coreset.knobs import Knobs
from benchmarks.quality.coreset.trainings import Bench, Training
from benchmarks.quality.coreset.tuned import Chosen

DROPS = {
    0.3: (0.0, 0.05),
    0.5: (0.0, 0.05, 0.1),
    0.7: (0.0, 0.05, 0.1),
    0.8: (0.05, 0.1, 0.2),
    0.9: (0.05, 0.1, 0.2, 0.3),
}
SPLITS = (0.5, 0.3, 0.7, 0.9)
PAIRS = ((10, 1.0), (10, 0.3), (5, 0.1))
PAIR_RATES = (0.7, 0.9)
DROPPING = ("ccs", "d2 in strata", "d2 in strata, hardness", "d2", "d2, self-scaled", "d2, normalised")
JOINING = (*DROPPING[1:], "d2, uniform", "d2, prototypicality")
SPLITTING = ("dlc + flexrand",)

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
        best |= self._best_pairs(best)
        tuned = [method for method in self.methods if method in (*DROPPING, *JOINING, *SPLITTING)]
        return {method: {str(rate): best[method, rate] for rate in self.rates} for method in tuned}

    def _best_of_each(self) -> dict[Cell, Knobs]:
        cells = {(method, rate): _candidates(method, rate) for method in self.methods for rate in self.rates}
        means = self._means((*cell, knobs) for cell, several in cells.items() if len(several) > 1 for knobs in several)
        return {cell: max(several, key=lambda knobs: means.get((*cell, knobs), 0)) for cell, several in cells.items()}

    def _best_pairs(self, best: dict[Cell, Knobs]) -> dict[Cell, Knobs]:
        rates = [rate for rate in self.rates if rate in PAIR_RATES]
        methods = [method for method in self.methods if method in JOINING]
        rows = {
            (method, pair): [(method, rate, _joined(best[method, rate], pair)) for rate in rates]
            for method in methods
            for pair in PAIRS
        }
        means = self._means(cell for row in rows.values() for cell in row)
        paired: dict[Cell, Knobs] = {}
        for method in methods:
            first = max(PAIRS, key=lambda pair: sum(means[cell] for cell in rows[method, pair]))
            paired |= {(method, rate): _joined(best[method, rate], first) for rate in self.rates}
        return paired

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


def _joined(knobs: Knobs, pair: tuple[int, float]) -> Knobs:
    return replace(knobs, k=pair[0], gamma=pair[1])


def _candidates(method: str, rate: float) -> list[Knobs]:
    if method in DROPPING:
        return [Knobs(drop=drop) for drop in DROPS[rate]]
    return [Knobs(split=split) for split in SPLITS] if method in SPLITTING else [Knobs()]
