"""The CLIP score at which a filter cuts, exact and without gathering the scores: counted by digits of their keys."""

from collections.abc import Sequence

from filtering.core.radix_select import SCORE_DIGITS, join_digits, order_keys, score_of, split_digits
from filtering.embedding.artifacts import EmbeddedShard
from filtering.filters.artifacts import PassingShard
from filtering.filters.judging import PASSES, Failed, Judging, columns_of, first_failed
from filtering.runtime.rank_counts import count_keys, key_at_rank
from filtering.runtime.records import RowCount
from filtering.runtime.shard_groups import of_shard
from filtering.runtime.stage import StageRun
from filtering.runtime.task_spec import TaskSpec, task
from filtering.storage.store import Store

FAILED_NAME = "{}.{}.failed.npz"
# Every row has a cosine of at least this.
LEAST_SCORE = -1.0


def score_threshold(
    stage: StageRun, shards: Sequence[EmbeddedShard], judging: Judging, fraction: float, column: str = "clip_score"
) -> float:
    """Return the score that DataComp's rule cuts at (`place_of`), among the rows that pass the rules; -1 if none does.

    Afterwards the store knows which rows pass all of `judging.rules` (`judged`).
    """

    def tasks_of(name: str, prefix: tuple[int, ...]) -> list[TaskSpec[RowCount]]:
        names = [f"{name}-{shard.identity}" for shard in shards]
        return [
            of_shard(task(name, count_scores, shard, judging, column, prefix, name, stage.store), shard)
            for name, shard in zip(names, shards, strict=True)
        ]

    digits = key_at_rank(
        stage,
        f"threshold-{len(judging.rules)}",
        tasks_of,
        lambda rows: place_of(rows, fraction),
        SCORE_DIGITS,
        unit="shards of scores",
        whole=True,
    )
    return score_of(join_digits(digits)) if digits else LEAST_SCORE


def place_of(count: int, fraction: float) -> int:
    """Return the place of DataComp's threshold among `count` descending scores, at least one.

    It is the value at int(n * fraction), from 0, or the last; every score at or above it is kept, ties included
    (arXiv 2304.14108, baselines).
    """
    return min(int(count * fraction), count - 1)


def judged(shard: EmbeddedShard, judging: Judging, store: Store) -> Failed:
    """Return the first of the rules that each row of a shard fails, as `first_failed` does.

    The result for the rules before `judging.known` is read from the store.
    """
    known, failed = judging.known, None
    if known:
        failed = store.read_arrays(FAILED_NAME.format(shard.shard.identity, known))["failed"]
    rows = shard.rows(columns_of(judging.rules))
    for rule in judging.rules[known:]:
        rows = rule.marked(rows, shard.shard.identity, shard.shard.index)
    return first_failed(rows, judging.rules, failed, known, PassingShard(shard, store).vector_blocks)


def count_scores(
    shard: EmbeddedShard, judging: Judging, column: str, prefix: Sequence[int], task_name: str, store: Store
) -> RowCount:
    """Count the scores of the rows that pass the rules by the digit after `prefix`; return how many they are.

    The first round writes which rows pass, for the rounds after it.
    """
    cut = len(judging.rules)
    failed = judged(shard, judging.known_to(cut) if prefix else judging, store)
    if not prefix and cut:
        store.write_arrays(FAILED_NAME.format(shard.shard.identity, cut), {"failed": failed})
    scores = shard.rows([column])[column].to_numpy()[failed == PASSES]
    return count_keys(store, task_name, split_digits(order_keys(scores), SCORE_DIGITS), prefix)
