import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filtering.core.errors import InputError
from filtering.filters.phrases import MAX_WORDS, Entries, check_entries, read_entries


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


@pytest.mark.parametrize("form", [{}, {"indent": 1}, {"ensure_ascii": False}])
def test_a_json_list_is_one_of_entries(tmp_path, form):
    (tmp_path / "a.json").write_text(json.dumps(["Caf\u00e9", "great white"] + [f"w{n}" for n in range(40)], **form))
    assert read_entries(str(tmp_path / "a.json")).names[:3] == ["caf\u00e9", "great white", "w0"]


def test_lines_in_brackets_are_lines(tmp_path):
    (tmp_path / "a.txt").write_text("[cat]\ndog\n")
    assert read_entries(str(tmp_path / "a.txt")).names == ["cat", "dog"]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (json.dumps([["cat", 1]]), "is a JSON list of other things than texts"),
        (json.dumps([f"w{n}" for n in range(40)])[:-1], f"holds no entry of at most {MAX_WORDS} words"),
        ("[" * 10_000, "holds no entry"),
        (json.dumps({"entries": [f"w{n}" for n in range(40)]}), f"holds no entry of at most {MAX_WORDS} words"),
    ],
)
def test_a_file_in_which_no_entry_can_match_is_refused(tmp_path, text, line):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(InputError, match=line):
        read_entries(str(tmp_path / "a.json"))


def test_no_captions_and_no_entries():
    assert found(["cat"]) == []
    assert found([], "cat") == []


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
        check_entries(str(path))


def test_a_list_that_is_no_list_of_words_is_not_read_whole(tmp_path, monkeypatch):
    monkeypatch.setattr("filtering.filters.phrases.MAX_BYTES", 1_000)
    (tmp_path / "words.txt").write_text("cat\n" * 300)
    with pytest.raises(InputError, match=r"words\.txt is larger than 1\.00 kB; give a list of words and phrases$"):
        read_entries(str(tmp_path / "words.txt"))
