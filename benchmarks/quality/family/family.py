"""Every cell times every method times every seed; a finished training is a line of `results.jsonl` and is not repeated.

A training is identified by the pairs that it saw: two methods that keep the same pairs share it, and a method whose
meaning changes with the package is measured anew.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.quality.family.cells import Cell, Workshop, all_cells
from benchmarks.quality.pool.building import is_built
from benchmarks.quality.pool.filtering_model import Judge
from benchmarks.quality.pool.filters import Filter
from benchmarks.quality.pool.measuring import VERSION, PoolData, Result, TrainingLog
from benchmarks.quality.pool.selecting import Selected, configured, known_selection, selected
from benchmarks.quality.pool.settings import PoolSettings
from filtering.core.errors import FilteringError


@dataclass(frozen=True, slots=True)
class Compared:
    """What is compared; `steps` are the batches of each training."""

    pools: Sequence[PoolSettings]
    judges: Sequence[Judge]
    keeps: Sequence[float]
    methods: Sequence[Filter]
    seeds: Sequence[int]
    steps: int

    def cells(self) -> list[Cell]:
        """Return every cell, in the order of work."""
        return list(all_cells(self.pools, self.judges, self.keeps))


def training_key(pool: PoolSettings, scale: float, steps: int, seed: int, digest: str) -> str:
    """Return what identifies a training; `digest` is that of the pairs it saw."""
    settings = pool.plain()
    del settings["name"]
    return json.dumps([VERSION, settings, scale, steps, seed, digest], sort_keys=True)


class Family:
    """The trainings of one folder."""

    def __init__(self, workshop: Workshop, compared: Compared) -> None:
        self.workshop, self.compared = workshop, compared
        self.log = TrainingLog(workshop.folder / "results.jsonl")
        self._data: tuple[PoolSettings, PoolData] | None = None

    def run(self) -> None:
        """Select and train what has not been; all cells and methods with one seed before the next."""
        done = set(self.log.results())
        for seed in self.compared.seeds:
            for cell in self.compared.cells():
                for method in self.compared.methods:
                    self._measure(cell, method, seed, done)

    def results(self) -> dict[Cell, dict[str, list[Result]]]:
        """Return what is measured of each method in each cell: a result a seed. Selects and trains nothing."""
        known = self.log.results()
        return {cell: self._of_cell(cell, known) for cell in self.compared.cells()}

    def _of_cell(self, cell: Cell, known: dict[str, Result]) -> dict[str, list[Result]]:
        found: dict[str, list[Result]] = {}
        for method in self.compared.methods:
            for seed in self.compared.seeds:
                kept = self._known(cell, method, seed)
                result = known.get(self._key(cell, kept, seed)) if kept else None
                if result is not None:
                    found.setdefault(method.name, []).append(result)
        return found

    def _measure(self, cell: Cell, method: Filter, seed: int, done: set[str]) -> None:
        try:
            kept = self._selected(cell, method, seed)
        except FilteringError as error:
            print(f"{cell}, {method.name}: skipped ({error})", flush=True)
            return
        key = self._key(cell, kept, seed)
        if key in done:
            return
        result = {
            "key": key,
            # For a reader; the key alone decides what a line is the result of.
            "cell": str(cell),
            "method": method.name,
            "seed": seed,
            **self._data_of(cell.pool).measured(kept.uids, self.compared.steps, seed),
        }
        self.log.append(result)
        done.add(key)
        figure, seconds = result["validation"]["mean"], result["training seconds"]
        print(f"seed {seed}, {cell}, {method.name}: {figure:.1f} on the validation pictures, {seconds} s", flush=True)

    def _key(self, cell: Cell, kept: Selected, seed: int) -> str:
        return training_key(cell.pool, self.workshop.scale, self.compared.steps, seed, kept.digest)

    def _selected(self, cell: Cell, method: Filter, seed: int) -> Selected:
        self.workshop.make(cell.pool, cell.judge)
        return selected(self.workshop.place(cell.pool, cell.judge), self._configuration(cell, method, seed))

    def _known(self, cell: Cell, method: Filter, seed: int) -> Selected | None:
        place = self.workshop.place(cell.pool, cell.judge)
        if not is_built(place.pool):
            return None
        try:
            return known_selection(place, configured(place, self._configuration(cell, method, seed)))
        except FilteringError:
            return None

    def _configuration(self, cell: Cell, method: Filter, seed: int) -> dict[str, object]:
        rows = len(self._data_of(cell.pool).truth.uids)
        return method.configuration(round(cell.keep * rows), cell.keep, seed)

    def _data_of(self, pool: PoolSettings) -> PoolData:
        # The last one only: a pool and its pictures take some 200 MB.
        if self._data is None or self._data[0] != pool:
            self._data = pool, PoolData(self.workshop.place(pool, self.compared.judges[0]).pool, pool)
        return self._data[1]
