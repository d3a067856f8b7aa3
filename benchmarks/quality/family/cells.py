"""The cells of the family: each pool, judged by each filtering model, at each keep rate."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.quality.pool.building import build
from benchmarks.quality.pool.filtering_model import Judge, train_judge
from benchmarks.quality.pool.selecting import Place
from benchmarks.quality.pool.settings import PoolSettings
from benchmarks.quality.pool.sources import VOCABULARIES, Folders

# One that tells most first: where a run was stopped early, all pools have been compared at the first of them.
KEEPS = (0.3, 0.1, 0.5, 0.15, 0.7)


@dataclass(frozen=True, slots=True)
class Cell:
    """A pool, the filtering model that judges it, and the share of it to keep."""

    pool: PoolSettings
    judge: Judge
    keep: float

    def __str__(self) -> str:
        return f"{self.pool.name}, {self.judge.name}, {100 * self.keep:g} %"


@dataclass(frozen=True, slots=True)
class Workshop:
    """Where pools and filtering models are, and how they are made.

    Attributes
    ----------
    scale : share of the pairs and concepts of new pools.
    address : the `ray.address` of every run.
    """

    folder: Path
    folders: Folders
    scale: float
    address: str

    def place(self, settings: PoolSettings, judge: Judge) -> Place:
        """Return where a pool is filtered by a model."""
        pool = self.folder / "pools" / _plain_name(settings.name)
        # Clean pairs are the same in all pools of the same pictures, and so are the models that learn from them.
        model = self.folder / "models" / _plain_name(f"{settings.pictures} {judge.name}")
        return Place(pool, model, pool / _plain_name(judge.name), self.address)

    def make(self, settings: PoolSettings, judge: Judge) -> None:
        """Build a pool and train a filtering model, unless they are there."""
        place = self.place(settings, judge)
        for folder in (place.pool, place.model):
            folder.mkdir(parents=True, exist_ok=True)
        build(place.pool, self.folders, settings, self.scale)
        train_judge(place.pool, place.model, judge, VOCABULARIES[settings.pictures])


def all_cells(pools: Sequence[PoolSettings], judges: Sequence[Judge], keeps: Sequence[float]) -> Iterator[Cell]:
    """Yield every cell, all pools and models at a keep rate before the next."""
    for keep in keeps:
        for pool in pools:
            for judge in judges:
                yield Cell(pool, judge, keep)


def _plain_name(name: str) -> str:
    words = name.replace("%", "percent").split()
    return "-".join(words)
