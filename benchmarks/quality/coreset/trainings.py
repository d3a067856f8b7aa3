"""Trainings on coresets: what decides one, running many by processes, and the file of those that are finished."""

import json
import multiprocessing
import os
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path

import faiss
import numpy as np
import torch

from benchmarks.quality.coreset.data import Int64Array, Split, test_split, validation_split
from benchmarks.quality.coreset.knobs import Knobs
from benchmarks.quality.coreset.methods import METHODS
from benchmarks.quality.coreset.pool import Pool
from benchmarks.quality.coreset.scoring import complexities_of, scores_of
from benchmarks.quality.coreset.training import Schedule, accuracy, trained

SPLITS = {"test": test_split, "validation": validation_split}
# Methods that draw: another seed, another coreset.
DRAWING = ("random", "ccs", "dlc + flexrand")
COMPLEX = ("dlc + flexrand",)
FINISHED = "trainings.jsonl"


@dataclass(frozen=True, slots=True)
class Training:
    """All that decides what a training gives: split, method, pruning rate, seed, knobs, iterations."""

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


def finished(cache: Path) -> dict[str, float]:
    """Return the accuracies of trainings that are done, by key."""
    path = cache / FINISHED
    lines = path.read_text().splitlines() if path.is_file() else []
    return {json.dumps(line["training"], sort_keys=True): line["accuracy"] for line in map(json.loads, lines)}


def run_all(trainings: Sequence[Training], cache: Path, workers: int) -> dict[str, float]:
    """Return the accuracy of every training by key; those that are not finished are run, in order."""
    done = finished(cache)
    missing = list({training.key: training for training in trainings if training.key not in done}.values())
    _prepare(missing, cache)
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, _one_thread)
    try:
        futures = [pool.submit(run, training, cache) for training in missing]
        for number, future in enumerate(as_completed(futures), 1):
            print(f"{number}/{len(missing)} {future.result()}", flush=True)
    finally:
        pool.shutdown(cancel_futures=True)
    return finished(cache)


def run(training: Training, cache: Path) -> str:
    """Choose the coreset, train on it, note the accuracy in the cache, and return what is to be told."""
    split, pool = _loaded(training.split, cache)
    rows = _coreset(training, pool, cache)
    started = time.perf_counter()
    made = trained(split.train.rows(rows), Schedule(training.iterations), training.seed)
    seconds = time.perf_counter() - started
    reached = accuracy(made, split.held_out)
    _append(cache, training, reached, seconds)
    return f"{training}: {reached:.4f}, {seconds:.1f} s"


def _coreset(training: Training, pool: Pool, cache: Path) -> Int64Array:
    """Return the rows of a coreset, ascending: read, where a training with another seed has left them."""
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
def _loaded(name: str, cache: Path) -> tuple[Split, Pool]:
    split = SPLITS[name]()
    folder = cache / name
    return split, Pool(scores_of(split.train, folder), split.train.labels, folder)


def _prepare(trainings: Sequence[Training], cache: Path) -> None:
    """Make what is missing of the scoring runs, before processes would make the same twice."""
    _one_thread()
    for name in sorted({training.split for training in trainings}):
        split, pool = _loaded(name, cache)
        if any(training.split == name and training.method in COMPLEX for training in trainings):
            complexities_of(split.train, pool.folder)


def _append(cache: Path, training: Training, reached: float, seconds: float) -> None:
    line = {"training": asdict(training), "accuracy": round(reached, 5), "seconds": round(seconds, 2)}
    with (cache / FINISHED).open("a") as file:
        file.write(json.dumps(line) + "\n")


def _one_thread() -> None:
    torch.set_num_threads(1)
    faiss.omp_set_num_threads(1)
