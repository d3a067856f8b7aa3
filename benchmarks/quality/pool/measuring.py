"""One training of a pool's pairs and its examination, and the file that remembers those that are done."""

import json
import time
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from benchmarks.quality.pool.evaluation import Examination
from benchmarks.quality.pool.settings import PoolSettings
from benchmarks.quality.pool.shards import Pool
from benchmarks.quality.pool.sources import VOCABULARIES
from benchmarks.quality.pool.training import trained
from benchmarks.quality.pool.truth import Truth

Result = dict[str, Any]
# Raised when the model or its training changes: what was measured before does not count any more.
VERSION = 2
PARTS = ("validation", "test")


class PoolData:
    """A pool that has been built; its parts are loaded when they are first asked for."""

    def __init__(self, folder: Path, settings: PoolSettings) -> None:
        self.folder, self.vocabulary = folder, VOCABULARIES[settings.pictures]
        self._examinations = dict[str, Examination]()

    @cached_property
    def truth(self) -> Truth:
        return Truth(self.folder / "truth.parquet")

    @cached_property
    def pairs(self) -> Pool:
        return Pool(self.folder / "pool")

    def examination(self, part: str) -> Examination:
        """Return the examination on one part of the pictures, validation or test."""
        if part not in self._examinations:
            self._examinations[part] = Examination(self.folder / f"{part}.npz", self.vocabulary)
        return self._examinations[part]

    def measured(self, uids: Sequence[str], steps: int, seed: int, parts: Sequence[str] = PARTS) -> Result:
        """Train on the pairs of these uids and examine the model; return figures in percent, and the seconds.

        `parts` are the pictures that it is examined on.
        """
        started = time.perf_counter()
        model = trained(self.pairs.kept(uids), steps, seed)
        return {
            "training seconds": round(time.perf_counter() - started, 1),
            "rows": len(self.truth.uids),
            "truth": self.truth.figures(uids),
            **{part: self.examination(part).figures(model) for part in parts},
        }


class TrainingLog:
    """A file of finished trainings, a line each; each has a `key` that names all that decides it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def results(self) -> dict[str, Result]:
        """Return the trainings by their keys; half a line, of a training that was stopped, is none."""
        lines = self.path.read_text().split("\n")[:-1] if self.path.exists() else []
        return {result["key"]: result for result in map(json.loads, filter(None, lines))}

    def append(self, result: Result) -> None:
        """Add a training."""
        torn = self.path.exists() and not self.path.read_bytes().endswith(b"\n") and self.path.stat().st_size
        if torn:
            self.path.write_bytes(self.path.read_bytes().rpartition(b"\n")[0] + b"\n")
        with self.path.open("a") as lines:
            lines.write(json.dumps(result) + "\n")
