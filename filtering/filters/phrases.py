"""Phrase matching: which captions contain which words and phrases of a list."""

import json
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from filtering.core.errors import InputError
from filtering.core.formatting import size
from filtering.storage.listed import read_listed
from filtering.storage.store import checksum, read_range
from filtering.storage.versions import Version

Int64Array = npt.NDArray[np.int64]
Int32Array = npt.NDArray[np.int32]

IMAGENET = "imagenet"
# An underscore is no part of a word: file names and tags are written with it.
WORD = re.compile(r"[^\W_]+")
# Longer entries are sentences, which no second caption holds; they match nothing.
MAX_WORDS = 32
# Of a file of entries: ten times MetaCLIP's half a million.
MAX_BYTES = 64 << 20


class Entries:
    """A list of words and phrases that captions are matched with.

    A caption matches an entry if it has the entry's words next to each other, in any case, with any spaces or
    punctuation between them: T-shirt is the two words t and shirt. Words are runs of letters and digits
    of any script; where a script is written without spaces a run is a whole phrase, which only an equal entry matches.

    Phrases of the same words are one entry; those without words, or with more than 32, match nothing. `names` has the
    words of each entry, one space between them; its place is the entry's id.
    """

    def __init__(self, phrases: Sequence[str]) -> None:
        self.names = list(dict.fromkeys(" ".join(words) for phrase in phrases if (words := _words(phrase))))
        self._ids = {name: number for number, name in enumerate(self.names)}
        self._lengths = _lengths_by_first_word(self.names)

    def __len__(self) -> int:
        """Return how many entries there are."""
        return len(self.names)

    @property
    def can_match(self) -> bool:
        """Whether any entry is short enough for a caption to match it."""
        return bool(self._lengths)

    def matches(self, captions: Sequence[str]) -> tuple[Int64Array, Int32Array]:
        """Return which captions match which entries, each pair once.

        Rows, int64 (m,), are places of captions, ascending; entries, int32 (m,), are ids, ascending inside a row.
        """
        found = [sorted(set(self._found(caption))) for caption in captions]
        rows = np.repeat(np.arange(len(found)), [len(entries) for entries in found])
        return rows, np.array([entry for entries in found for entry in entries], dtype=np.int32)

    def _found(self, caption: str) -> Iterator[int]:
        words = _words(caption)
        for start, word in enumerate(words):
            for length in self._lengths.get(word, ()):
                entry = self._ids.get(" ".join(words[start : start + length]))
                if entry is not None:
                    yield entry


def check_entries(url: str) -> None:
    """Refuse a list that is not there, or that `read_entries` refuses: InputError."""
    try:
        read_entries(url)
    except FileNotFoundError:
        raise InputError(f"entries: {url} is not there; give {IMAGENET} or a text file, an entry a line") from None


def read_entries(url: str, version: Version | None = None) -> Entries:
    """Return the entries of a file in UTF-8, or of ``imagenet``, open_clip's names of classes.

    A file holds an entry a line, or is a JSON list of texts, as MetaCLIP publishes its own. InputError if it is not
    UTF-8 or has no entry that a caption could match; FileNotFoundError if it is not there, or RunError if it does not
    have the version, where one is given.
    """
    entries = Entries(_imagenet() if url == IMAGENET else _lines(url, version))
    if len(entries) == 0:
        raise InputError(f"entries: {url} holds no entry; write one a line")
    if not entries.can_match:
        raise InputError(
            f"entries: {url} holds no entry of at most {MAX_WORDS} words; write one a line, or a JSON list"
        )
    return entries


def entries_identity(names: Sequence[str]) -> str:
    """Return what tells a list from others, by its `Entries.names`."""
    return checksum("\n".join(names).encode())[:16]


def _words(text: str) -> list[str]:
    # Composed after lowering too: an accent of its own would end a word.
    return WORD.findall(unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).lower()))


def _lengths_by_first_word(names: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Return, for each first word of an entry, the numbers of words of the entries that begin with it."""
    lengths: dict[str, set[int]] = defaultdict(set)
    for name in names:
        words = name.split(" ")
        if len(words) <= MAX_WORDS:
            lengths[words[0]].add(len(words))
    return {word: tuple(sorted(found)) for word, found in lengths.items()}


def _imagenet() -> Sequence[str]:
    # Loads torch, which takes seconds and is needed for this list alone.
    import open_clip

    names: Sequence[str] = open_clip.IMAGENET_CLASSNAMES
    return names


def _lines(url: str, version: Version | None) -> list[str]:
    most = MAX_BYTES + 1
    try:
        content = read_range(url, 0, most) if version is None else read_listed(url, version, most)
        if len(content) > MAX_BYTES:
            raise InputError(f"entries: {url} is larger than {size(MAX_BYTES)}; give a list of words and phrases")
        return _listed(url, content.decode("utf-8-sig"))
    except FileNotFoundError:
        raise
    except UnicodeDecodeError as error:
        raise InputError(f"entries: {url} is not UTF-8 at byte {error.start}; save it as UTF-8") from None
    except OSError as error:
        raise InputError(f"entries: {url} cannot be read ({error}); give a text file, an entry a line") from None


def _listed(url: str, text: str) -> list[str]:
    """Return the entries of a JSON list, or the lines of another text."""
    try:
        found = json.loads(text) if text.lstrip().startswith("[") else None
    except (ValueError, RecursionError):
        found = None
    if found is None:
        return text.splitlines()
    entries = [entry for entry in found if isinstance(entry, str)]
    if len(entries) < len(found):
        raise InputError(f"entries: {url} is a JSON list of other things than texts; give a list of words and phrases")
    return entries
