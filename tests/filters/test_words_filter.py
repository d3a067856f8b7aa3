import pyarrow as pa
import pytest

from filtering.config.filters import Filter, WordsFilter
from filtering.core.errors import InputError, RunError
from filtering.filters.stage import check_filters
from filtering.filters.words import list_identity, stored_list, words_pass
from filtering.storage.store import Store


@pytest.fixture
def rule(tmp_path):
    (tmp_path / "list.txt").write_text("dog\ngreat white shark\n")
    return WordsFilter(list=str(tmp_path / "list.txt"))


def passes(words, *captions):
    return words_pass(pa.chunked_array([list(captions)], pa.string()), words).tolist()


def test_captions_with_an_entry_pass(rule, tmp_path):
    words = stored_list(rule, 0, list_identity(rule), Store(str(tmp_path / "stage")))
    captions = ["A Dog.", "hotdogs", "the great  white-shark", "white shark", "", None, "dog dog"]
    assert passes(words, *captions) == [True, False, True, False, False, False, True]
    assert passes(words) == []


def test_the_pool_is_judged_by_one_list_even_if_the_file_changes(rule, tmp_path):
    store = Store(str(tmp_path / "stage"))
    before = list_identity(rule)
    words = stored_list(rule, 0, before, store)
    (tmp_path / "list.txt").write_text("cat\n")
    assert stored_list(rule, 0, before, store) == words
    assert passes(words, "a dog", "a cat") == [True, False]
    assert list_identity(rule) != before


def test_a_list_is_not_stored_under_the_name_of_another(rule, tmp_path):
    store, before = Store(str(tmp_path / "stage")), list_identity(rule)
    (tmp_path / "list.txt").write_text("cat\n")
    with pytest.raises(RunError, match=r"list\.txt: it was written again while the run read it; give the same command"):
        stored_list(rule, 0, before, store)
    assert not store.names()


def test_a_list_that_is_deleted_after_the_checks_is_told_as_deleted(rule, tmp_path):
    check_filters([Filter(words=rule)])
    before = list_identity(rule)
    (tmp_path / "list.txt").unlink()
    for read in (lambda: list_identity(rule), lambda: stored_list(rule, 0, before, Store(str(tmp_path / "stage")))):
        with pytest.raises(RunError) as told:
            read()
        line = f"{rule.list}: it was deleted since the run listed it; give the same command again"
        assert str(told.value) == line


def test_imagenets_classes_are_a_list(tmp_path):
    words = stored_list(WordsFilter(), 1, list_identity(WordsFilter()), Store(str(tmp_path)))
    assert passes(words, "my goldfish", "stock market") == [True, False]


def test_a_list_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"^filters.words.list: .*nowhere.txt is not there"):
        check_filters([Filter(words=WordsFilter(list=str(tmp_path / "nowhere.txt")))])
