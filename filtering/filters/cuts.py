"""The CLIP score at which a filter cuts, exact and without gathering the scores: counted by digits of their keys."""

from collections.abc import Sequence

from filtering.core.radix_select import SCORE_DIGITS, digit_counts, order_keys, split_digits
from filtering.embedding.artifacts import EmbeddedShard
from filtering.filters.judging import COLUMNS, PASSES, Failed, Rule, first_failed
from filtering.runtime.rank_counts import write_counts
from filtering.storage.store import Store

FAILED_NAME = "{}.{}.failed.npz"
COUNTS_NAME = "{}.{}.{}.counts.npz"


def judged(shard: EmbeddedShard, rules: Sequence[Rule], known: int, store: Store) -> Failed:
    """Return the first of the rules that each row of a shard fails, as `first_failed` does.

    Parameters
    ----------
    known : int
        The rules before this place have been judged, and the result is in the store; 0 for none.
    """
    failed = store.read_arrays(FAILED_NAME.format(shard.shard.identity, known))["failed"] if known else None
    return first_failed(shard.rows(list(COLUMNS)), rules, failed, known)


def count_scores(
    shard: EmbeddedShard, rules: Sequence[Rule], known: int, prefix: Sequence[int], store_url: str
) -> dict[str, int]:
    """Count the scores of the rows that pass some rules by the digit after `prefix`; return how many they are.

    The first round leaves what it judged for those after it, up to the place len(rules); `known` is as in `judged`.
    """
    store, identity, cut = Store(store_url), shard.shard.identity, len(rules)
    failed = judged(shard, rules, cut if prefix else known, store)
    if not prefix and cut:
        store.write_arrays(FAILED_NAME.format(identity, cut), {"failed": failed})
    scores = shard.rows(["clip_score"])["clip_score"].to_numpy()[failed == PASSES]
    counts = digit_counts(split_digits(order_keys(scores), SCORE_DIGITS), prefix)
    return write_counts(store, COUNTS_NAME.format(identity, cut, len(prefix)), counts)
