"""Captions that hold an entry of a list: DataComp's text-based filter."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from typing_extensions import TypedDict

from filtering.config.filters import WordsFilter
from filtering.core.errors import InputError
from filtering.filters.phrases import Entries, check_entries, entries_identity, read_entries
from filtering.filters.stored import keep
from filtering.storage.reading import read_record_as
from filtering.storage.store import Store
from filtering.storage.versions import deletion_refused

LIST_NAME = "{}.words.json"


def check_list(rule: WordsFilter) -> None:
    """Refuse a filter's list that is not there or cannot be read: InputError that names the filter."""
    with _named():
        check_entries(rule.list)


def _listed(rule: WordsFilter) -> list[str]:
    """Return the entries of a filter's list."""
    with _named():
        return read_entries(rule.list).names


@contextlib.contextmanager
def _named() -> Iterator[None]:
    try:
        yield
    except InputError as error:
        raise InputError(f"filters.words.list: {str(error).removeprefix('entries: ')}") from None


def list_identity(rule: WordsFilter) -> str:
    """Return the identity of a list's content, which may change while its URL stays the same.

    RunError if the list, which the run's checks have read, has been deleted since.
    """
    with deletion_refused(rule.list):
        return entries_identity(_listed(rule))


class StoredEntries(TypedDict):
    """A list on disk."""

    entries: list[str]


@dataclass(frozen=True, slots=True)
class WordList:
    """An object with a list: all workers, and a run that is resumed, read the same one, even if the file changes."""

    store: Store
    name: str

    def read(self) -> list[str]:
        """Return the entries."""
        return read_record_as(self.store, self.name, StoredEntries)["entries"]

    def write(self, entries: list[str]) -> None:
        """Write the entries."""
        self.store.write_record(self.name, {"entries": entries})


def stored_list(rule: WordsFilter, number: int, identity: str, store: Store) -> WordList:
    """Write the list of filter `number` unless the store has it, and return it.

    RunError if it is another one than that of `identity`, by which the stage is named, or has been deleted.
    """
    words = WordList(store, LIST_NAME.format(number))
    keep(words, rule.list, lambda: _listed(rule), entries_identity, identity)
    return words


def words_pass(captions: pa.ChunkedArray, words: WordList) -> npt.NDArray[np.bool_]:
    """Return which captions hold an entry of a list; bool (n,).

    DataComp looks at each word's most frequent meaning in WordNet and asks whether it is one of ImageNet-21k's classes
    (arXiv 2304.14108, text-based filter). No package brings WordNet, so entries are matched as they are written, as
    `Entries` says.
    """
    passes = np.zeros(len(captions), dtype=bool)
    passes[_entries(words).matches([text or "" for text in captions.to_pylist()])[0]] = True
    return passes


@cache
def _entries(words: WordList) -> Entries:
    return Entries(words.read())
