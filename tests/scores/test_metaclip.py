import numpy as np
import pytest

from filtering.scores.metaclip import UNMATCHED, metaclip_keys


def uids(count):
    return np.array([f"{number:032x}".encode() for number in range(count)], dtype="S32")


def test_keys_are_those_of_a_plain_loop():
    random = np.random.default_rng(0)
    pairs = np.unique(random.integers(0, [50, 6], (80, 2)), axis=0)
    rows, entries = pairs[:, 0], pairs[:, 1].astype(np.int32)
    counts = np.array([1, 10, 100, 1000, 5, 7])
    expected = [UNMATCHED] * 50
    for row, entry in zip(rows, entries, strict=True):
        alone = metaclip_keys(uids(50), np.array([row]), np.array([entry], np.int32), np.ones(6, int), 3)
        expected[row] = max(expected[row], alone[row] * counts[entry])
    keys = metaclip_keys(uids(50), rows, entries, counts, 3)
    assert keys.dtype == np.float32
    assert np.allclose(keys, expected, rtol=1e-6)
    order = random.permutation(len(rows))
    assert np.array_equal(metaclip_keys(uids(50), rows[order], entries[order], counts, 3), keys)


def test_rows_without_an_entry_come_last():
    keys = metaclip_keys(uids(3), np.array([1]), np.array([0], np.int32), np.array([10**9]), 0)
    assert keys[0] == keys[2] == np.finfo(np.float32).min < keys[1]
    assert len(metaclip_keys(uids(0), np.zeros(0, int), np.zeros(0, np.int32), np.zeros(0, int), 0)) == 0


def test_the_seed_and_the_uid_decide():
    rows, entries, counts = np.arange(100), np.zeros(100, np.int32), np.array([100])
    first = metaclip_keys(uids(100), rows, entries, counts, 0)
    assert np.array_equal(first, metaclip_keys(uids(100), rows, entries, counts, 0))
    assert not np.isin(first, metaclip_keys(uids(100), rows, entries, counts, 1)).any()
    assert len(np.unique(first)) == 100


@pytest.mark.parametrize("limit", [20, 500, 3_000])
def test_scores_from_minus_t_on_are_the_choice_of_metaclip(limit):
    # A pair matches entries 0 and 1, or one of them, or the rare entry 2.
    kinds, each = ([0, 1], [0], [1], [2]), (4_000, 4_000, 12_000, 15)
    matched = [kind for kind, many in zip(kinds, each, strict=True) for _ in range(many)]
    rows = np.repeat(np.arange(len(matched)), [len(kind) for kind in matched])
    entries = np.array([entry for kind in matched for entry in kind], dtype=np.int32)
    counts = np.bincount(entries)
    kept = metaclip_keys(uids(len(matched)), rows, entries, counts, 5) >= -limit
    chance = np.minimum(1.0, limit / counts)
    start = 0
    for kind, many in zip(kinds, each, strict=True):
        expected = 1 - np.prod([1 - chance[entry] for entry in kind])
        share = kept[start : start + many].mean()
        assert abs(share - expected) <= 4 * np.sqrt(expected * (1 - expected) / many)
        start += many
    # The tail is whole.
    assert kept[-15:].all()


def test_draws_for_two_entries_of_a_pair_are_independent():
    rows, entries = np.repeat(np.arange(5_000), 2), np.tile(np.array([0, 1], np.int32), 5_000)
    alone = [metaclip_keys(uids(5_000), rows[entries == e], entries[entries == e], np.array([1, 1]), 0) for e in (0, 1)]
    assert abs(np.corrcoef(*alone)[0, 1]) < 0.06
    for draws in alone:
        assert draws.min() > -1
        assert draws.max() < 0
        assert abs(np.mean(draws) + 0.5) < 0.02
