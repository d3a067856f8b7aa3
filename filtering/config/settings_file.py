"""Read a configuration file and `--set` overrides as plain data, before anything is validated."""

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from filtering.config.aliases import other_names
from filtering.core.arguments import TEXTS, check_arguments
from filtering.core.errors import InputError, first_line
from filtering.core.formatting import shortened
from filtering.core.places import PathOrUrl, as_text

DATE = "{date}"
# Bytes of a configuration, and values in it once each anchor stands where it is used: a list of a million shards fits.
MAX_BYTES = 128 << 20
MAX_VALUES = 4_000_000
# Keys in keys of an override.
DEEPEST = 8
# Errors that YAML's own constructors raise for text such as 2026-99-99 or `!!int x`.
UNREADABLE = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
# Python writes no whole number of more digits, and no file is named by what a text cannot hold.
MAX_BITS = 1 << 13
NOT_IN_NAMES = re.compile("[\0\ud800-\udfff]")
# Characters that are shown of an override, and of a key in it or in the file.
SHOWN, SHOWN_KEY = 300, 120
# A brace range without quotes inside of {...} or [...].
PART = r"[^\s\"'\[\]{},]"
UNQUOTED = re.compile(rf"[\[{{,:][ \t]*({PART}{{1,300}}\{{\w{{1,30}}\.\.\w{{1,30}}\}}{PART}{{0,300}})")
SEARCHED = 1 << 18
# Keys given twice that are told.
MAX_REPEATS = 50
MERGE = "tag:yaml.org,2002:merge"


class Settings(NamedTuple):
    """The keys and values of a configuration, nothing of which is validated.

    There is a line for each key that is given twice, and for each bad override.
    """

    data: dict[str, object]
    mistakes: tuple[str, ...]


class _Loader(yaml.SafeLoader):
    """Safe YAML that also takes 1e-3 for a number, as YAML 1.2 does, and whose errors all say where they are."""

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        """Return the value of a node."""
        try:
            return _usable(super().construct_object(node, deep))
        except UNREADABLE as error:
            raise yaml.constructor.ConstructorError(None, None, first_line(error), node.start_mark) from None


def _usable(value: Any) -> Any:
    """Return a value; ValueError if nothing could be done with it, not even to show it."""
    if isinstance(value, int) and value.bit_length() > MAX_BITS:
        raise ValueError("a whole number of thousands of digits")
    if isinstance(value, str) and NOT_IN_NAMES.search(value):
        raise ValueError("a text with a NUL or half of a surrogate pair")
    return value


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


def read_settings(path: PathOrUrl, overrides: Sequence[str] = ()) -> Settings:
    """Return the keys and values of a YAML file, by its path or URL, with `--set KEY=VALUE` overrides applied in order.

    Today's date (UTC) replaces {date} in `output`. An override replaces the key under its former name, too; one that is
    malformed is left out and said. Raises InputError if the file cannot be read or holds no keys, with the overrides'
    mistakes.
    """
    check_arguments(overrides=(overrides, TEXTS))
    data, repeats, unread = dict[str, object](), list[str](), list[str]()
    try:
        data, repeats = _read_file(as_text(path))
    except InputError as error:
        unread = list(error.args)
    mistakes = [*repeats, *(line for line in (_override(data, override) for override in overrides) if line)]
    if unread:
        raise InputError(*unread, *mistakes)
    if isinstance(output := data.get("output"), str):
        data["output"] = output.replace(DATE, f"{datetime.now(UTC):%Y-%m-%d}")
    return Settings(data, tuple(mistakes))


def _read_file(path: str) -> tuple[dict[str, object], list[str]]:
    """Return the keys and values of a file, and a line for each key that is given twice."""
    try:
        content = _content(path)
        if len(content) > MAX_BYTES:
            raise InputError(f"{path}: is too large for a configuration, more than {MAX_BYTES >> 20} MiB")
        text = content.decode()
        data, repeats = _value(text)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None
    except (UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"{path}: is not YAML ({' '.join(str(error).split())})") from None
    except yaml.YAMLError as error:
        raise InputError(f"{path}: is not YAML ({' '.join(str(error).split())}){_unquoted(text)}") from None
    except _TooManyValuesError as error:
        raise InputError(f"{path}: {error}") from None
    if not isinstance(data, dict):
        raise InputError(f"{path}: must hold keys and values, such as 'output: runs/first'")
    return data, [f"{one.key}: is given in line {one.first} and again in line {one.again}; keep one" for one in repeats]


def _unquoted(text: str) -> str:
    """Return what to do where a brace range may have been taken for a mapping, else nothing."""
    found = UNQUOTED.search(text[:SEARCHED])
    return f'; quote what holds braces: "{shortened(found[1], SHOWN_KEY)}"' if found else ""


def _content(path: str) -> bytes:
    """Return a file's bytes, of one that is too large its beginning."""
    if "://" not in path:
        with Path(path).open("rb") as stream:
            return stream.read(MAX_BYTES + 1)
    # Storage brings numpy and pyarrow along: what is wrong in a file on this disk is said sooner without them.
    from filtering.storage.store import read_range

    return read_range(path, 0, MAX_BYTES + 1)


class _TooManyValuesError(Exception):
    """Anchors stand for more values than there may be, or for themselves."""


class _Repeat(NamedTuple):
    """A key that a mapping holds twice, and the lines in which it stands; YAML would take the last."""

    key: str
    first: int
    again: int


def _value(text: str) -> tuple[Any, list[_Repeat]]:
    """Return the value of YAML text, and which keys it gives twice.

    Nothing is built of anchors that stand for more than `MAX_VALUES` values.
    """
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None, []
        _count(node, {})
        repeats = list(islice(_repeats(node, "", set()), MAX_REPEATS))
        return loader.construct_document(node), repeats
    finally:
        loader.dispose()


def _count(node: yaml.Node, known: dict[int, int]) -> int:
    """Return how many values a node holds, those of an anchor counted wherever it is used."""
    if id(node) not in known:
        known[id(node)] = MAX_VALUES  # while it is counted: a node within itself has no end
        inner = node.value if isinstance(node, yaml.CollectionNode) else ()
        pairs = (part for one in inner for part in (one if isinstance(one, tuple) else (one,)))
        known[id(node)] = 1 + sum(_count(part, known) for part in pairs)
    if known[id(node)] > MAX_VALUES:
        raise _TooManyValuesError(f"its anchors stand for more than {MAX_VALUES:,} values, or for themselves")
    return known[id(node)]


def _repeats(node: yaml.Node, path: str, seen: set[int]) -> Iterator[_Repeat]:
    """Yield the keys that a node and those in it hold twice; what an anchor stands for is looked at once."""
    if id(node) in seen or not isinstance(node, yaml.CollectionNode):
        return
    seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        yield from _repeated_keys(node, path)
    for at, one in enumerate(node.value):
        key, inner = (_words(one[0]), one[1]) if isinstance(one, tuple) else (str(at), one)
        yield from _repeats(inner, f"{path}{key}.", seen)


def _repeated_keys(node: yaml.MappingNode, path: str) -> Iterator[_Repeat]:
    lines = dict[tuple[str, str], int]()
    for key, _ in node.value:
        # Mappings that are merged (<<) are each taken in.
        if isinstance(key, yaml.ScalarNode) and key.tag != MERGE:
            name, line = (key.tag, key.value), key.start_mark.line + 1
            if name in lines:
                yield _Repeat(path + _words(key), lines[name], line)
            else:
                lines[name] = line


def _words(key: yaml.Node) -> str:
    return shortened(str(key.value), SHOWN_KEY) if isinstance(key, yaml.ScalarNode) else "this mapping"


def _override(data: dict[str, object], override: str) -> str:
    """Apply an override and return nothing, or what is wrong with it."""
    key, equals, value = override.partition("=")
    *parents, last = key.split(".")
    shown = shortened(override, SHOWN)
    if not equals or not all((*parents, last)):
        return f"--set {shown}: must read KEY=VALUE, such as selection.keep=0.3"
    if NOT_IN_NAMES.search(key):
        return f"--set {shown}: the key is not UTF-8; must read KEY=VALUE, such as selection.keep=0.3"
    if len(parents) >= DEEPEST:
        return f"--set {shown}: is nested too deep; must read KEY=VALUE, such as selection.keep=0.3"
    section = data
    for parent in parents:
        if section.get(parent) is None:
            section[parent] = {}
        inner = section[parent]
        if not isinstance(inner, dict):
            return f"--set {shown}: {parent} holds no keys"
        section = inner
    for name in other_names(key):
        section.pop(name, None)
    try:
        section[last], repeats = _value(value)
    except (yaml.YAMLError, RecursionError):
        return f"--set {shown}: the value is not YAML{_unquoted(value)}"
    except _TooManyValuesError as error:
        return f"--set {shown}: {error}"
    return f"--set {shown}: {repeats[0].key} is given twice; keep one" if repeats else ""
