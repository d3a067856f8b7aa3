"""Captions that hold an entry of a list: DataComp's text-based filter."""

from functools import cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from filtering.config.filters import WordsFilter
from filtering.core.errors import InputError
from filtering.filters.phrases import Entries, read_entries
from filtering.storage.store import Store, checksum

LIST_NAME = "{}.words.json"


def listed(rule: WordsFilter) -> Entries:
    """Return the entries of a filter's list; InputError in the words of the filter if they cannot be read."""
    try:
        return read_entries(rule.list)
    except InputError as error:
        raise InputError(f"filters.words.list: {str(error).removeprefix('entries: ')}") from None


def list_identity(rule: WordsFilter) -> str:
    """Return what tells a list from another that stood at the same URL."""
    return checksum("\n".join(listed(rule).names).encode())[:16]


def hand_out(rule: WordsFilter, number: int, store: Store) -> str:
    """Write the list of filter `number` for the workers unless it is there, and return its URL.

    All of them, and a run that goes on later, judge by the same list, whatever becomes of the file.
    """
    name = LIST_NAME.format(number)
    if not store.exists(name):
        store.write_json(name, listed(rule).names)
    return store.path(name)


def words_pass(captions: pa.ChunkedArray, list_url: str) -> npt.NDArray[np.bool_]:
    """Return which captions hold an entry of the list that `hand_out` wrote; bool (n,).

    DataComp looks at each word's most frequent meaning in WordNet and asks whether it is one of ImageNet-21k's classes
    (arXiv 2304.14108, text-based filter). No package brings WordNet, so entries are matched as they are written, as
    `Entries` says.
    """
    passes = np.zeros(len(captions), dtype=bool)
    passes[_entries(list_url).matches([text or "" for text in captions.to_pylist()])[0]] = True
    return passes


@cache
def _entries(list_url: str) -> Entries:
    folder, name = list_url.rsplit("/", 1)
    return Entries(Store(folder).read_json(name))
