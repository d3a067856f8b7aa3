import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filtering.core.errors import InputError
from filtering.scores.metaclip import MAX_WORDS, UNMATCHED, Entries, metaclip_keys, read_entries


def found(entries, *captions):
    rows, ids = Entries(entries).matches(list(captions))
    assert rows.dtype == np.int64
    assert ids.dtype == np.int32
    names = Entries(entries).names
    return [(row, names[entry]) for row, entry in zip(rows.tolist(), ids.tolist(), strict=True)]


def test_entries_match_on_the_boundaries_of_words():
    assert found(["cat"], "a cat", "cats", "Concatenate", "cat", "cat's", "the (cat).") == [
        (0, "cat"),
        (3, "cat"),
        (4, "cat"),
        (5, "cat"),
    ]


def test_case_punctuation_and_spaces_do_not_matter():
    captions = ("GREAT  white\tShark!", "great-white_shark.jpg", "great white", "white shark great")
    assert found(["Great white shark"], *captions) == [(0, "great white shark"), (1, "great white shark")]
    assert found(["T-shirt"], "my t-shirt", "my T shirt", "my tshirt") == [(0, "t shirt"), (1, "t shirt")]


def test_words_of_any_script():
    assert found(["café", "Straße", "кот"], "CAFE\u0301", "STRASSE", "Кот, straße") == [
        (0, "café"),
        (2, "straße"),
        (2, "кот"),
    ]
    # One letter that lowers to a letter and an accent.
    assert found(["\u0130stanbul"], "\u0130STANBUL") == [(0, Entries(["\u0130stanbul"]).names[0])]


def test_a_caption_may_match_many_entries_each_once():
    entries = ["dog", "hot dog", "hot", "dog house"]
    assert found(entries, "hot dog house, hot dog") == [(0, "dog"), (0, "hot dog"), (0, "hot"), (0, "dog house")]


def test_entries_of_the_same_words_are_one_and_those_without_words_none():
    entries = Entries(["Crane", "crane ", "", "?!", "maillot, crane"])
    assert entries.names == ["crane", "maillot crane"]
    assert len(entries) == 2


def test_entries_of_very_many_words_match_nothing():
    longest = " ".join(["word"] * MAX_WORDS)
    assert found([longest], longest + " word") == [(0, longest)]
    assert found([longest + " word"], longest + " word") == []


def test_no_captions_and_no_entries():
    assert found(["cat"]) == []
    assert found([], "cat") == []


@settings(deadline=None)
@given(
    st.lists(st.lists(st.sampled_from("aBc"), min_size=1, max_size=4), max_size=8),
    st.lists(st.text("aAbBc .-_", max_size=20), max_size=6),
)
def test_matches_are_those_of_a_search_for_every_entry(entries, captions):
    phrases = list(dict.fromkeys(" ".join(words).lower() for words in entries))
    expected = [
        (row, phrase)
        for row, caption in enumerate(captions)
        for phrase in phrases
        if f" {phrase} " in f" {' '.join(re.sub('[ ._-]', ' ', caption.lower()).split())} "
    ]
    assert found([" ".join(words) for words in entries], *captions) == expected


def test_imagenet_names():
    entries = read_entries("imagenet")
    assert 950 < len(entries) <= 1000
    assert {"tench", "great white shark", "t shirt"} < set(entries.names)


def test_a_file_of_entries(tmp_path):
    path = tmp_path / "entries.txt"
    path.write_bytes("\ufeffCat\r\n\r\nhot dog\n".encode())
    assert read_entries(str(path)).names == ["cat", "hot dog"]


@pytest.mark.parametrize(("data", "message"), [(None, "not there"), (b"caf\xe9", "not UTF-8"), (b"\n.\n", "no entry")])
def test_files_without_entries_are_refused(tmp_path, data, message):
    path = tmp_path / "entries.txt"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(InputError, match=f"entries: .*{message}"):
        read_entries(str(path))


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
