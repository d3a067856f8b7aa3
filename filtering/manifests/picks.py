"""The picks of a step of selection as the tasks of shards read them: from every partition, or gathered before.

A partition's picks are one object, which each shard would ask for its own: shards times partitions requests. Where
those are very many, a task for some shards asks for theirs together, and each of them reads what it wrote.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from filtering.concepts.partition import shard_and_row
from filtering.core.uids import Uids
from filtering.filters.artifacts import PassingShard
from filtering.runtime.records import RowCount
from filtering.runtime.shuffle import Records, write_groups
from filtering.runtime.stage import StageRun
from filtering.runtime.task_spec import task
from filtering.selection.artifacts import PICK, PICKS_SUFFIX, PickFilter, read_picks
from filtering.storage.store import Store

# Requests above which picks are gathered; shards that are gathered together, and their samples.
MOST_REQUESTS = 100_000
TOGETHER, TOGETHER_ROWS = 256, 4_000_000
GATHERED_SUFFIX = ".gathered"
GATHERED_NAME = "{:08d}-{:08d}" + GATHERED_SUFFIX


@dataclass(frozen=True, slots=True)
class Picked:
    """Where the picks of a step are: in all objects that are named, or in one for each few shards."""

    store: Store
    names: tuple[str, ...]
    step: int = 0
    together: int = 0  # shards of a gathered object; 0 where picks are not gathered

    def picks(self, shard: int) -> Records:
        """Return the picks of a shard, PICK (n,)."""
        names = [GATHERED_NAME.format(self.step, shard // self.together)] if self.together else self.names
        return read_picks(self.store, names, shard)

    def of(self, shard: PassingShard) -> tuple[Uids, npt.NDArray[np.float32]]:
        """Return the uids and scores of a shard's picked samples, in the order of its rows."""
        picks = self.picks(shard.index)
        rows = shard_and_row(picks["row"])[1]
        order = np.argsort(rows)
        return shard.uids(rows[order]), np.ascontiguousarray(picks["score"][order])


def find_picks(stage: StageRun, pick_filters: Sequence[PickFilter], samples: Sequence[int]) -> list[Picked]:
    """Return where the picks of each step are; gather them if shards would send very many requests.

    `samples` are those of each shard.
    """
    found = [Picked(one.store, tuple(one.store.names(PICKS_SUFFIX))) for one in pick_filters]
    if sum(len(one.names) for one in found) * len(samples) <= MOST_REQUESTS:
        return found
    together = max(1, min(TOGETHER, TOGETHER_ROWS * len(samples) // max(sum(samples), 1)))
    starts = range(0, len(samples), together)
    gathering = [
        task(f"gather-{step}-{start // together:08d}", gather_picks, one, step, start, together, stage.store)
        for step, one in enumerate(found)
        for start in starts
    ]
    stage.map(gathering, "groups of shards")
    return [Picked(stage.store, (), step, together) for step in range(len(found))]


def gather_picks(picked: Picked, step: int, first: int, together: int, store: Store) -> RowCount:
    """Write the picks of some shards that follow each other as one object."""
    picks = read_picks(picked.store, picked.names, first, first + together)
    shards = shard_and_row(picks["row"])[0]
    write_groups(store, GATHERED_NAME.format(step, first // together), shards, PICK, picks.__getitem__)
    return RowCount(rows=len(picks))
