"""Every filter times every seed; each finished training is a line of `results.jsonl` and is not repeated."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.lib.tables import Row, print_table
from benchmarks.quality.pool.evaluation import Examination
from benchmarks.quality.pool.filters import Filter
from benchmarks.quality.pool.selecting import Selected, selected
from benchmarks.quality.pool.shards import Pool
from benchmarks.quality.pool.training import trained
from benchmarks.quality.pool.truth import Truth
from filtering.core.errors import FilteringError

Result = dict[str, Any]
# Raised when the model or its training changes: what was measured before does not count any more.
VERSION = 2


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
        self.settings, self.path = settings, settings.work / "results.jsonl"
        self.truth = Truth(settings.work / "truth.parquet")
        self._pool: Pool | None = None
        self._examinations: dict[str, Examination] = {}

    def results(self, filters: Sequence[Filter]) -> list[Result]:
        """Return what is measured of these filters."""
        names = {self.settings.key(chosen, seed): chosen.name for chosen in filters for seed in self.settings.seeds}
        return [{**line, "filter": names[line["key"]]} for line in self._lines() if line["key"] in names]

    def run(self, filters: Sequence[Filter], train: bool = True) -> None:
        """Select first, which shows what cannot run, then train; all filters with one seed before the next."""
        able = [chosen for chosen in filters if self._can(chosen)]
        if not train:
            print_table([{"filter": chosen.name, **self._composition(chosen)} for chosen in able])
            return
        done = {result["key"] for result in self._lines()}
        wanted = [(chosen, seed) for seed in self.settings.seeds for chosen in able]
        for chosen, seed in wanted:
            if self.settings.key(chosen, seed) not in done:
                self._measure(chosen, seed)

    def selected(self, chosen: Filter, seed: int) -> Selected:
        """Return what a filter keeps."""
        share, keep = self.settings.share, round(self.settings.share * len(self.truth.uids))
        return selected(self.settings.work, chosen, keep, share, seed, self.settings.address)

    def _composition(self, chosen: Filter) -> Row:
        found = self.truth.figures(self.selected(chosen, self.settings.seeds[0]).uids)
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
        started = time.perf_counter()
        model = trained(self._pairs().kept(kept.uids), self.settings.steps, seed)
        result: Result = {
            "key": self.settings.key(chosen, seed),
            "filter": chosen.name,
            "seed": seed,
            "training seconds": round(time.perf_counter() - started, 1),
            "selection": {name: getattr(kept, name) for name in ("seconds", "graph_seconds", "peak_bytes")},
            "truth": self.truth.figures(kept.uids),
            **{part: self._examination(part).figures(model) for part in ("validation", "test")},
        }
        with self.path.open("a") as lines:
            lines.write(json.dumps(result) + "\n")
        figure, seconds = result["validation"]["mean"], result["training seconds"]
        print(f"seed {seed}, {chosen.name}: {figure:.1f} on the validation pictures, {seconds} s", flush=True)

    def _lines(self) -> list[Result]:
        return [json.loads(line) for line in self.path.read_text().splitlines()] if self.path.exists() else []

    def _pairs(self) -> Pool:
        if self._pool is None:
            self._pool = Pool(self.settings.work / "pool")
        return self._pool

    def _examination(self, part: str) -> Examination:
        if part not in self._examinations:
            self._examinations[part] = Examination(self.settings.work / f"{part}.npz")
        return self._examinations[part]
