"""The base of an incremental run: its objects, and how many of them can be reused.

Results do not depend on the base: a run without one computes the same. An unchanged shard is not embedded again; a
shard whose samples pass the filters as before keeps its concepts; a concept whose samples and replicas are unchanged
keeps its part of the graph, and its samples keep their order.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from filtering.core.errors import InputError, RunError
from filtering.runtime.records import from_plain
from filtering.runtime.run_record import RUN, RunRecord, StageRecord, fingerprint_of, read_run, stage_folder
from filtering.runtime.stage_objects import RECORD_SUFFIX
from filtering.shards.changes import GONE, Changes, changes
from filtering.shards.inventory import Shard, read_inventory
from filtering.storage.reading import read_record_as
from filtering.storage.store import Store

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Base:
    """A finished run from which another run starts."""

    run: Store  # its directory
    record: RunRecord  # its run.json
    shards: tuple[Shard, ...]  # its inventory

    def store(self, stage: str) -> Store:
        """Return the folder of a stage's objects."""
        return stage_folder(self.run, self.record, stage)

    def has(self, stage: str) -> bool:
        """Say whether the run had a stage of that name."""
        return stage in self.record["objects"]

    def fingerprint(self, stage: str) -> str:
        """Return the fingerprint of a stage, of the last one where several have its name."""
        return fingerprint_of(self.run, self.record, stage)

    def result(self, stage: str, kind: type[T]) -> T:
        """Return the result of a stage; InputError if an older version of filtering wrote it in another form."""
        found = read_result(self.store(stage), self.fingerprint(stage), kind)
        if found is None:
            raise InputError(
                f"{self.run.url}: an older version of filtering wrote its {stage}; run it again, or set no base"
            )
        return found


def read_result(store: Store, fingerprint: str, kind: type[T]) -> T | None:
    """Return the result of a finished stage, of its folder; None if an older version wrote it in another form."""
    name = f"{fingerprint}{RECORD_SUFFIX}"
    plain = read_record_as(store, name, StageRecord)["result"]
    try:
        return from_plain(kind, plain, store.path(name))
    except RunError:
        return None


@dataclass(frozen=True, slots=True)
class Reusable:
    """The reusable part of a base."""

    base: Base
    changes: Changes  # how its shards differ from the pool now
    # Identities of the shards whose samples pass the filters as before; known once the filters have run
    same: frozenset[str] = field(default_factory=frozenset)
    # Objects of the base that are damaged or missing: the stage, and what the object's name begins with
    damaged: frozenset[tuple[str, str]] = field(default_factory=frozenset)

    def identities(self, stage: str = "") -> set[str]:
        """Return the identities of the base's unchanged shards, but for those whose object of a stage is damaged."""
        there = zip(self.base.shards, self.changes.places.tolist(), strict=True)
        same = {shard.identity for shard, place in there if place != GONE}
        return {identity for identity in same if (stage, identity) not in self.damaged}

    def has_whole(self, *stages: str) -> bool:
        """Say whether no object of some stages is damaged, as far as known; those of single shards do not count."""
        known = {shard.identity for shard in self.base.shards}
        return not any(stage in stages and name not in known for stage, name in self.damaged)

    def is_whole_pool(self) -> bool:
        """Say whether the pool is the base's, and the same samples pass the filters."""
        there, new = self.changes, self.changes.new + self.changes.changed
        everyone = not new and bool((there.places == np.arange(len(there.places))).all())
        return everyone and self.same >= {shard.identity for shard in self.base.shards}

    def places(self) -> npt.NDArray[np.int64]:
        """Return the place of each shard of the base in the inventory now, -1 where its samples have changed."""
        same = np.array([shard.identity in self.same for shard in self.base.shards], dtype=bool)
        return np.where(same, self.changes.places, GONE)


def read_base(run: Store, key: str = "base") -> Base:
    """Return a finished run as a base; InputError, with the configuration key that names it, if there is none."""
    if not run.exists(RUN):
        raise InputError(f"{key}: {run.url} holds no finished run (no {RUN})")
    record = read_run(run)
    try:
        shards = read_inventory(run.child(record["objects"]["inventory"]))
    except (KeyError, FileNotFoundError):
        raise InputError(
            f"{key}: {run.url} has no inventory; it was deleted by retention, or an older version of filtering wrote it"
        ) from None
    return Base(run, record, tuple(shards))


def reusable_from(base: Base, shards: Sequence[Shard]) -> Reusable:
    """Compare a base's shards with those of the pool now."""
    return Reusable(base, changes(base.shards, shards))
