"""Objects of many shards merged by tasks, some hundreds at a time, so that no task reads one of every shard."""

from collections.abc import Callable, Sequence

from filtering.runtime.stage import StageRun
from filtering.runtime.task_spec import task
from filtering.storage.store import Store

MERGED_TOGETHER = 256

Merge = Callable[[Sequence[str], str, Store], int]


def merged_identities(stage: StageRun, what: str, identities: Sequence[str], merge: Merge) -> list[str]:
    """Merge the objects of shards until no more than 256 are left; return the identities in the names of those.

    `merge` writes one object, for the identity that it is given, that stands for those of several shards. What is
    merged follows from the order of the shards alone.
    """
    left, level = list(identities), 0
    while len(left) > MERGED_TOGETHER:
        parts = [left[start : start + MERGED_TOGETHER] for start in range(0, len(left), MERGED_TOGETHER)]
        targets = [f"{what}-{level}-{number:08d}" for number in range(len(parts))]
        tasks = [task(target, merge, part, target, stage.store) for target, part in zip(targets, parts, strict=True)]
        stage.map(tasks, "objects merged")
        left, level = targets, level + 1
    return left
