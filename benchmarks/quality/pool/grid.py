"""Every filter times every seed; each finished training is a line of `results.jsonl` and is not repeated."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.lib.tables import Row, print_table
from benchmarks.quality.pool.filters import Filter
from benchmarks.quality.pool.measuring import VERSION, PoolData, Result, TrainingLog
from benchmarks.quality.pool.selecting import Place, Selected, selected
from benchmarks.quality.pool.settings import BASE
from filtering.core.errors import FilteringError


@dataclass(frozen=True, slots=True)
class Settings:
    """What is compared.

    Attributes
    ----------
    share : of the pool that each filter keeps.
    steps : batches of each training.
    address : the `ray.address` of every run.
    """

    work: Path
    share: float
    steps: int
    seeds: Sequence[int]
    address: str

    def key(self, chosen: Filter, seed: int) -> str:
        """Identify a training by all that decides it; what a filter is called does not."""
        return json.dumps([VERSION, dict(chosen.settings), self.share, self.steps, seed], sort_keys=True)


class Grid:
    """The trainings of one work folder."""

    def __init__(self, settings: Settings) -> None:
        self.settings, self.log = settings, TrainingLog(settings.work / "results.jsonl")
        self.place, self.data = Place.within(settings.work, settings.address), PoolData(settings.work, BASE)

    def results(self, filters: Sequence[Filter]) -> list[Result]:
        """Return what is measured of these filters."""
        names = {self.settings.key(chosen, seed): chosen.name for chosen in filters for seed in self.settings.seeds}
        return [{**line, "filter": names[key]} for key, line in self.log.results().items() if key in names]

    def run(self, filters: Sequence[Filter], train: bool = True) -> None:
        """Select first, which shows what cannot run, then train; all filters with one seed before the next."""
        able = [chosen for chosen in filters if self._can(chosen)]
        if not train:
            print_table([{"filter": chosen.name, **self._composition(chosen)} for chosen in able])
            return
        done = self.log.results()
        wanted = [(chosen, seed) for seed in self.settings.seeds for chosen in able]
        for chosen, seed in wanted:
            if self.settings.key(chosen, seed) not in done:
                self._measure(chosen, seed)

    def selected(self, chosen: Filter, seed: int) -> Selected:
        """Return what a filter keeps."""
        share, keep = self.settings.share, round(self.settings.share * len(self.data.truth.uids))
        return selected(self.place, chosen.configuration(keep, share, seed))

    def _composition(self, chosen: Filter) -> Row:
        found = self.data.truth.figures(self.selected(chosen, self.settings.seeds[0]).uids)
        return {name: round(figure, 1) for name, figure in found.items()}

    def _can(self, chosen: Filter) -> bool:
        try:
            for seed in self.settings.seeds if chosen.draws else self.settings.seeds[:1]:
                self.selected(chosen, seed)
        except FilteringError as error:
            print(f"{chosen.name}: skipped ({error})", flush=True)
            return False
        return True

    def _measure(self, chosen: Filter, seed: int) -> None:
        kept = self.selected(chosen, seed if chosen.draws else self.settings.seeds[0])
        result: Result = {
            "key": self.settings.key(chosen, seed),
            "filter": chosen.name,
            "seed": seed,
            "selection": {name: getattr(kept, name) for name in ("seconds", "graph_seconds", "peak_bytes")},
            **self.data.measured(kept.uids, self.settings.steps, seed),
        }
        self.log.append(result)
        figure, seconds = result["validation"]["mean"], result["training seconds"]
        print(f"seed {seed}, {chosen.name}: {figure:.1f} on the validation pictures, {seconds} s", flush=True)
