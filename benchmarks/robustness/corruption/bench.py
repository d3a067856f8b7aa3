"""A small pool, a run over it, and trials: one object is damaged, and the same command runs again."""

import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filtering.config.run import Config, load_config
from filtering.core.errors import FilteringError
from filtering.embedding.checkpoint import check_model
from filtering.manifests.verify import problems
from filtering.pipeline.incremental import run
from filtering.runtime.run_record import RunRecord
from filtering.shards.presence import check_presence
from filtering.storage.store import Store
from tests.support.damages import (
    DAMAGES,
    can_be_killed_after,
    choices_for,
    damage,
    kill_after,
    objects_of,
    stage_of,
)
from tests.support.pools import Told, member, members, metadata_config, tar_config, write_metadata, write_tar

KINDS = ("metadata", "tars")
INPUT = "input"
FIXED = ("manifest", "report", "lease")
HEALED, AS_FRESH, REFUSED, NAMELESS = "healed", "as a fresh run", "refused", "names no object"
WRONG, RAW, UNSOUND, NO_DAMAGE = "wrong manifest", "raw error", "verify finds more", "no damage"
# What verify leaves out, as nothing of it enters a result: the log, holders of the lease, and marks, whose names count.
UNVERIFIED = ("events.jsonl", "lease/", "final.json", "consumed-")
# What run.json says of the result.
FIGURES = ("totals", "reasons", "recall", "graph", "measures", "warnings")
# A run that is killed later than it wrote this can have been killed at any time.
ANY_TIME = Path("stages/inventory-0/shards.json")
STEPS = [{"method": "semdedup", "epsilon": 0.2}, {"keep": 0.5}]


@dataclass(frozen=True, slots=True)
class Case:
    """What is damaged: an object of the run, or of the pool, by its path there."""

    of: str  # "run" or "pool"
    path: Path
    damage: str
    killed: bool

    @property
    def stage(self) -> str:
        """The stage that wrote it; of others the name of their folder, with a slash, or their own."""
        if self.of == "pool":
            return INPUT
        return f"{self.path.parts[0]}/" if self.path.parts[0] in FIXED else stage_of(self.path)


@dataclass(frozen=True, slots=True)
class Trial:
    """What became of a case."""

    stage: str
    object: str
    damage: str
    killed: bool
    outcome: str
    detail: str = ""
    verified: str = ""  # found, blind or unnamed: what verify said before the command; empty where it was not asked
    told: bool = True  # whether a line of the command named the object
    seconds: float = 0.0

    @property
    def excused(self) -> bool:
        """Whether it is known that verify does not look at the object."""
        name = self.object.removeprefix("stages/").rpartition("/")[2]
        return self.stage in UNVERIFIED or name.startswith(UNVERIFIED)

    @property
    def bad(self) -> bool:
        """Whether it ended otherwise than it should."""
        good = (AS_FRESH, REFUSED) if self.stage == INPUT else (HEALED,)
        blind = self.verified not in ("", "found") and not self.excused
        return self.outcome != NO_DAMAGE and (self.outcome not in good or blind)


@dataclass
class Bench:
    """A folder with a pool, and a finished run over it of which a copy stays whole."""

    folder: Path
    kind: str
    seed: int
    record: RunRecord = field(init=False)

    def __post_init__(self) -> None:
        """Run over the pool, which is written unless it is there."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if not self.pool.exists():
            write_pool(self.pool, self.kind, self.seed)
            shutil.copytree(self.pool, self._whole("pool"))
        self.record = self._again(self.run, Told())
        shutil.copytree(self.run, self._whole("run"))

    @property
    def pool(self) -> Path:
        """The pool."""
        return self.folder / "pool"

    @property
    def run(self) -> Path:
        """The output that is damaged."""
        return self.folder / "run"

    def cases(self, killed: bool) -> list[Case]:
        """Return every damage of every object, of the pool last."""
        inside = objects_of(self._whole("run"))
        if killed:
            inside = [path for path in inside if can_be_killed_after(path)]
        whole = [("run", path) for path in inside] + [("pool", path) for path in objects_of(self._whole("pool"))]
        return [Case(of, path, how, killed) for of, path in whole for how in DAMAGES]

    def trial(self, case: Case) -> Trial:
        """Damage an object of a fresh copy, run the same command again, and return what that led to."""
        choices = choices_for(self.seed, case.path, case.damage)
        _restore(self._whole("run"), self.run)
        if case.killed:
            kill_after(self.run, ANY_TIME if case.of == "pool" else case.path, choices)
        folder = self.pool if case.of == "pool" else self.run
        names = damage(folder, case.path, case.damage, choices)
        started = time.monotonic()
        try:
            found = self._tried(case, names) if names else {"outcome": NO_DAMAGE}
        finally:
            if case.of == "pool":
                _restore(self._whole("pool"), self.pool)
        seconds = round(time.monotonic() - started, 2)
        return Trial(case.stage, str(case.path), case.damage, case.killed, **found, seconds=seconds)

    def _tried(self, case: Case, names: Sequence[str]) -> dict[str, Any]:
        try:
            if case.of == "pool":
                return self._against_fresh(names)
            verified = "" if case.killed else self._verified(names)
            return {**self._healed(names), "verified": verified}
        except Exception as error:
            return {"outcome": RAW, "detail": f"{type(error).__name__}: {error}"}

    def _verified(self, names: Sequence[str]) -> str:
        try:
            lines = list(problems(Store(str(self.run))))
        except FilteringError as error:
            lines = [str(error)]
        return "found" if _names(lines, names) else "unnamed" if lines else "blind"

    def _healed(self, names: Sequence[str]) -> dict[str, Any]:
        told = Told()
        try:
            record = self._again(self.run, told)
        except FilteringError as error:
            return _refusal(error, names)
        said = _names(told.lines, names)
        if record["manifest_hash"] != self.record["manifest_hash"]:
            return {"outcome": WRONG, "detail": f"manifest_hash {record['manifest_hash']}", "told": said}
        if differing := [*self._differing(), *(key for key in FIGURES if record.get(key) != self.record.get(key))]:
            return {"outcome": WRONG, "detail": ", ".join(map(str, differing)), "told": said}
        left = list(problems(Store(str(self.run))))
        return {"outcome": UNSOUND if left else HEALED, "detail": "; ".join(left[:3]), "told": said}

    def _differing(self) -> list[Path]:
        """Return the objects of the manifests that are not, byte for byte, what the first run wrote."""
        now, then = self.run / "manifest", self._whole("run") / "manifest"
        names = sorted({*objects_of(now), *objects_of(then)})
        return [one for one in names if _bytes(now / one) != _bytes(then / one)]

    def _against_fresh(self, names: Sequence[str]) -> dict[str, Any]:
        """Run over the damaged pool, and into a new output: both must end alike."""
        fresh = self.folder / "fresh"
        shutil.rmtree(fresh, ignore_errors=True)
        expected, found = self._outcome(fresh), self._outcome(self.run)
        if isinstance(found, FilteringError):
            alike = isinstance(expected, FilteringError) and str(expected) == str(found).replace(
                str(self.run), str(fresh)
            )
            return _refusal(found, names) if alike else {"outcome": WRONG, "detail": f"{found}; fresh: {expected}"}
        if isinstance(expected, FilteringError) or found != expected:
            return {"outcome": WRONG, "detail": f"{found}; fresh: {expected}"}
        left = list(problems(Store(str(self.run))))
        return {"outcome": UNSOUND if left else AS_FRESH, "detail": "; ".join(left[:3])}

    def _outcome(self, output: Path) -> tuple[str, dict[str, int]] | FilteringError:
        try:
            record = self._again(output, Told())
        except FilteringError as error:
            return error
        return record["manifest_hash"], record["totals"]

    def _again(self, output: Path, told: Told) -> RunRecord:
        """Do what `filtering run` does, in this process."""
        return run(self._config(output), told)

    def _config(self, output: Path) -> Config:
        """Write and read the configuration of a run."""
        steps: dict[str, Any] = {"selection": {"steps": STEPS}, "graph": {"k": 2}}
        if self.kind == "tars":
            settings = tar_config(self.pool, output, concepts={"clusters": 3, "partition_rows": 25}, **steps)
        else:
            settings = metadata_config(self.pool, output, concepts={"clusters": 4, "partition_rows": 60}, **steps)
        written = self.folder / f"{output.name}.yaml"
        written.write_text(json.dumps(settings))
        return load_config(str(written), [], [check_model, check_presence])

    def _whole(self, name: str) -> Path:
        return self.folder / f"whole-{name}"


def write_pool(folder: Path, kind: str, seed: int) -> None:
    """Write a pool of two shards, in which tars have a sample without a caption."""
    if kind == "metadata":
        write_metadata(folder, [100, 60], seed=seed)
        return
    folder.mkdir()
    for shard in range(2):
        bare = member(f"bare{shard}", 99_000 + shard, b"")
        write_tar(folder / f"{shard:08d}.tar", [*members(100 * seed + shard, 30), *bare])


def _restore(whole: Path, folder: Path) -> None:
    """Let a folder be as its copy, with the times that belong to the identity of a shard."""
    shutil.rmtree(folder)
    shutil.copytree(whole, folder)


def _refusal(error: FilteringError, names: Sequence[str]) -> dict[str, Any]:
    line = str(error)
    if error.exit_status != 2:
        return {"outcome": RAW, "detail": line}
    named = "\n" not in line and _names([line], names)
    return {"outcome": REFUSED if named else NAMELESS, "detail": line}


def _names(lines: Sequence[str], names: Sequence[str]) -> bool:
    return any(name in line for line in lines for name in names)


def _bytes(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None
