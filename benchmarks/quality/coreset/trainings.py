"""Trainings on coresets: what determines one, running many in processes, and the file of the finished ones."""

import json
import multiprocessing
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import torch

from benchmarks.lib.timing import timed
from benchmarks.quality.coreset.data import Int64Array, Source, Split, test_split, validation_split
from benchmarks.quality.coreset.knobs import Knobs
from benchmarks.quality.coreset.methods import METHODS
from benchmarks.quality.coreset.pool import Pool
from benchmarks.quality.coreset.scoring import complexities_of, scores_of
from benchmarks.quality.coreset.training import Schedule, accuracy, trained

SPLITS = {"test": test_split, "validation": validation_split}
# Methods that draw: another seed, another coreset.
DRAWING = ("random", "ccs", "dlc + flexrand", "dual")
COMPLEX = ("dlc + flexrand",)
FINISHED = "trainings.jsonl"


@dataclass(frozen=True, slots=True)
class Training:
    """All that determines a training's result: split, method, pruning rate, seed, knobs, iterations."""

    split: str
    method: str
    rate: float
    seed: int
    knobs: Knobs = field(default_factory=Knobs)
    iterations: int = 1_200

    @property
    def key(self) -> str:
        """The training as text that is equal for equal ones."""
        return json.dumps(asdict(self), sort_keys=True)


@dataclass(frozen=True, slots=True)
class Bench:
    """Where trainings run: the folder of results, the data, and the number of worker processes."""

    cache: Path
    data: Source
    workers: int

    def finished(self) -> dict[str, float]:
        """Return the accuracies of finished trainings, by key."""
        path = self.cache / FINISHED
        lines = path.read_text().splitlines() if path.is_file() else []
        return {_trained(line["training"]).key: line["accuracy"] for line in map(json.loads, lines)}

    def run_all(self, trainings: Sequence[Training]) -> dict[str, float]:
        """Return the accuracy of every training by key; those that are not finished are run, in order."""
        done = self.finished()
        missing = list({training.key: training for training in trainings if training.key not in done}.values())
        self._prepare(missing)
        for number, line in enumerate(self._lines(missing), 1):
            print(f"{number}/{len(missing)} {line}", flush=True)
        return self.finished()

    def run(self, training: Training) -> str:
        """Choose the coreset, train on it, add the accuracy to the cache, and return a line about it."""
        split, pool = _loaded(training.split, self.cache, self.data)
        rows = _coreset(training, pool, self.cache)
        seconds, made = timed(lambda: trained(split.train.rows(rows), Schedule(training.iterations), training.seed))
        reached = accuracy(made, split.held_out)
        line = {"training": asdict(training), "accuracy": round(reached, 5), "seconds": round(seconds, 2)}
        with (self.cache / FINISHED).open("a") as file:
            file.write(json.dumps(line) + "\n")
        return f"{training}: {reached:.4f}, {seconds:.1f} s"

    def _lines(self, missing: Sequence[Training]) -> Iterator[str]:
        if self.workers == 1:
            yield from map(self.run, missing)
            return
        pool = ProcessPoolExecutor(self.workers, multiprocessing.get_context("spawn"), _one_thread)
        try:
            futures = [pool.submit(self.run, training) for training in missing]
            for future in as_completed(futures):
                yield future.result()
        finally:
            pool.shutdown(cancel_futures=True)

    def _prepare(self, trainings: Sequence[Training]) -> None:
        """Make what is missing of the scoring runs, before several processes would make it."""
        _one_thread()
        for name in sorted({training.split for training in trainings}):
            split, pool = _loaded(name, self.cache, self.data)
            if any(training.split == name and training.method in COMPLEX for training in trainings):
                complexities_of(split.train, pool.folder)


def _trained(line: dict[str, Any]) -> Training:
    """Return a finished training; knobs that it was run before have their defaults."""
    return Training(**{**line, "knobs": Knobs(**line["knobs"])})


def _coreset(training: Training, pool: Pool, cache: Path) -> Int64Array:
    """Return the rows of a coreset, ascending; they are read if a training with another seed has written them."""
    seed = training.seed if training.method in DRAWING else 0
    decides = [training.split, training.method, training.rate, seed, asdict(training.knobs)]
    path = cache / "picks" / f"{blake2b(json.dumps(decides).encode(), digest_size=12).hexdigest()}.npy"
    if not path.is_file():
        budget = round(len(pool) * (1 - training.rate))
        picks = np.sort(METHODS[training.method](pool, budget, training.knobs, seed))
        assert len(np.unique(picks)) == len(picks) == budget
        path.parent.mkdir(parents=True, exist_ok=True)
        # Under a name of its own first: another process may be reading.
        own = path.with_suffix(f".{os.getpid()}.npy")
        np.save(own, picks)
        own.replace(path)
    rows: Int64Array = np.load(path)
    return rows


@lru_cache
def _loaded(name: str, cache: Path, data: Source) -> tuple[Split, Pool]:
    split = SPLITS[name](data)
    folder = cache / name
    return split, Pool(scores_of(split.train, folder), split.train.labels, folder)


def _one_thread() -> None:
    torch.set_num_threads(1)
    faiss.omp_set_num_threads(1)
