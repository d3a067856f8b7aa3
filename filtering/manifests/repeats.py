"""How often each kept sample is seen in an epoch: draws over the whole pool, a shard's of which a task holds at most.

One round of tasks measures the scores of kept samples, and up to four count draws by their times; the last draw of an
epoch is then known exactly, and each shard says by itself how often its samples are drawn until then.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import TypedDict

from filtering.config.weights import Weights
from filtering.core.radix_select import WIDE_DIGITS
from filtering.filters.artifacts import PassingShard
from filtering.manifests.picks import Picked
from filtering.runtime.rank_counts import COUNTS_SUFFIX, count_keys, key_at_rank
from filtering.runtime.records import RowCount
from filtering.runtime.stage import StageRun
from filtering.runtime.stage_objects import consume
from filtering.runtime.task_spec import TaskSpec, task
from filtering.selection.soft_cap import Moments, SoftCap
from filtering.storage.store import Store


@dataclass(frozen=True, slots=True)
class Repeats:
    """How kept samples are drawn again, and the key of the last draw of an epoch, none if each is seen once."""

    cap: SoftCap
    bound: tuple[int, ...]


class ScoreMoments(TypedDict):
    """The result of measuring a shard's kept samples: the fields of `Moments`."""

    count: int
    mean: float
    squares: float


def find_repeats(stage: StageRun, weights: Weights, shards: Sequence[PassingShard], picked: Picked) -> Repeats:
    """Return what decides how often each kept sample is seen; the same for any number of tasks and workers."""
    parts = stage.over_shards("scores", "shards of scores", shards, measure_scores, picked)
    moments = reduce(Moments.merged, (Moments(**part) for part in parts), Moments(0, 0.0, 0.0))
    cap = SoftCap(weights, moments.mean, moments.deviation)
    further = cap.further(moments.count)
    if not further:
        return Repeats(cap, ())

    def tasks_of(name: str, prefix: tuple[int, ...]) -> list[TaskSpec[RowCount]]:
        names = [f"{name}-{shard.identity}" for shard in shards]
        return [
            task(one, count_draws, shard, picked, cap, prefix, one, stage.store)
            for one, shard in zip(names, shards, strict=True)
        ]

    bound = key_at_rank(stage, "draws", tasks_of, lambda rows: further - 1, WIDE_DIGITS, unit="shards of draws")
    consume(stage.store, COUNTS_SUFFIX)
    return Repeats(cap, bound)


def measure_scores(shard: PassingShard, picked: Picked) -> ScoreMoments:
    """Measure the scores of a shard's kept samples."""
    found = Moments.of(picked.of(shard)[1])
    return ScoreMoments(count=found.count, mean=found.mean, squares=found.squares)


def count_draws(
    shard: PassingShard, picked: Picked, cap: SoftCap, prefix: Sequence[int], task_name: str, store: Store
) -> RowCount:
    """Count the draws of a shard's kept samples by the digit of their key after `prefix`.

    Memory: about 50 bytes a kept sample and time that it may be seen.
    """
    return count_keys(store, task_name, cap.keys(*picked.of(shard)), prefix)
