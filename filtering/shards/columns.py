"""The rows of a table, such as DataComp's: uid, key, caption and sizes of each, or why the row cannot be used."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from filtering.core.captions import blank_captions
from filtering.core.errors import first_line
from filtering.core.uids import derived_uid
from filtering.shards.cells import ColumnError, Texts, sizes, texts
from filtering.shards.names import CAPTIONS, MAX_NAME_CHARACTERS, column
from filtering.shards.parquet import BoundedParquet, BoundsError
from filtering.shards.samples import MAX_CAPTION_BYTES

# The columns of a row, and under which names DataComp's tables may have them, in any case; the first that is there is
# taken. A picture's own size comes before that of its stored copy.
NAMES: dict[str, tuple[str, ...]] = {
    "uid": ("uid",),
    "key": ("key",),
    "caption": CAPTIONS,
    "width": ("original_width", "width"),
    "height": ("original_height", "height"),
    "url": ("url",),
    "sha256": ("sha256",),
}
# A row whose cell there cannot be read has none; no row is lost by it.
OPTIONAL = ("url", "sha256")
NAMING = ("uid", "key", "caption")
LONGEST = {
    "uid": MAX_NAME_CHARACTERS,
    "key": MAX_NAME_CHARACTERS,
    "caption": MAX_CAPTION_BYTES,
    "url": MAX_CAPTION_BYTES,
    "sha256": MAX_NAME_CHARACTERS,
}
SCHEMA = pa.schema(
    [
        ("uid", pa.string()),
        ("key", pa.string()),
        ("caption", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("url", pa.string()),
        ("sha256", pa.string()),
    ]
)
UNREADABLE = "metadata_unreadable"
# Why a row cannot be used, "" where it can, and what more there is to say; object (n,).
Words = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class ColumnNames:
    """The names that the columns of tables may have: `known`, as in `NAMES`; those in `required` must be there."""

    known: Mapping[str, Sequence[str]]
    required: frozenset[str] = frozenset()


DATACOMP = ColumnNames(NAMES)
# It calls a sample's key the path of its image.
CLIP_RETRIEVAL = ColumnNames({**NAMES, "key": ("key", "image_path")})


def named_columns(given: Mapping[str, str]) -> ColumnNames:
    """Return the names of columns of which some are given, by our names for them."""
    return ColumnNames({**NAMES, **{name: (one,) for name, one in given.items()}}, frozenset(given))


@dataclass(frozen=True, slots=True)
class TableRows:
    """The rows of a table, `SCHEMA` (n,), and by row the reason why it cannot be used, "" where it can, with a detail.

    A uid is in lower case, null where a row has none; a key is then empty, unless there is one. `counted` is False
    where one row stands for all of a table that does not even say how many it has.
    """

    table: pa.Table
    reasons: Words
    details: Words
    counted: bool = True

    def __len__(self) -> int:
        """Return how many rows there are."""
        return len(self.table)


def unreadable_rows(count: int, detail: str) -> TableRows:
    """Return rows of which nothing can be read."""
    empty, nothing = pa.array([""] * count, pa.string()), pa.nulls(count, pa.int32())
    unknown = pa.nulls(count, pa.string())
    table = pa.table([unknown, empty, empty, nothing, nothing, unknown, unknown], schema=SCHEMA)
    return TableRows(table, _words(count, UNREADABLE), _words(count, detail))


def table_rows(
    file: BoundedParquet, is_damage: Callable[[Exception], bool], names: ColumnNames = DATACOMP
) -> TableRows:
    """Return all rows of a table.

    A column that cannot be read makes all rows unusable, and so does a table that says that it holds more
    than it may; a damaged row group makes its own rows unusable. `is_damage` says whether an error comes from the
    table's bytes; one that does not passes as it is.
    """
    wanted, faults = _columns_of(file.schema, names)
    try:
        file.check(list(wanted.values()))
    except BoundsError as error:
        return unreadable_rows(file.rows, str(error))
    reader = _Reader(file, wanted, "; ".join(faults), is_damage)
    return joined([part for group in file.groups for part in reader.group(group)])


def with_uids(rows: TableRows, place: str) -> TableRows:
    """Return rows of which each that can be used has a uid: its own, else one derived from a shard's place and its key.

    The key of a row that has neither is its number in the table; "row" and that, where it is the key of another row.
    """
    without = np.asarray(rows.table["uid"].is_null()) & (rows.reasons == "")
    if not without.any():
        return rows
    numbers = np.flatnonzero(without).tolist()
    keys, uids = (rows.table[name].to_numpy().copy() for name in ("key", "uid"))
    taken = set(keys[numbers])
    for number in numbers:
        keys[number] = keys[number] or _free(str(number), taken)
        uids[number] = derived_uid(place, keys[number])
    columns = {"uid": pa.array(uids, pa.string()), "key": pa.array(keys, pa.string())}
    given = [columns.get(name, rows.table[name]) for name in SCHEMA.names]
    return replace(rows, table=pa.table(given, schema=SCHEMA))


def _free(name: str, taken: Collection[str]) -> str:
    while name in taken:
        name = f"row {name}"
    return name


def joined(parts: Sequence[TableRows]) -> TableRows:
    """Return the rows of several tables, one after the other."""
    return TableRows(
        pa.concat_tables([SCHEMA.empty_table(), *(part.table for part in parts)]),
        np.concatenate([_words(0, ""), *(part.reasons for part in parts)]),
        np.concatenate([_words(0, ""), *(part.details for part in parts)]),
    )


class _Reader:
    """Reads a table's row groups in order, and counts the text that they hold together."""

    def __init__(
        self, file: BoundedParquet, wanted: dict[str, str], fault: str, is_damage: Callable[[Exception], bool]
    ) -> None:
        self.file, self.wanted, self.fault, self.is_damage = file, wanted, fault, is_damage
        self.text_bytes = 0

    def group(self, group: int) -> list[TableRows]:
        names = list(self.wanted.values())
        if not names:
            nothing, count = unreadable_rows(self.file.rows_of(group), self.fault), self.file.rows_of(group)
            return [nothing if self.fault else replace(nothing, reasons=_words(count, ""))]
        try:
            return self._read(group, names)
        except MemoryError:
            raise
        except Exception as error:
            # Readers meet damaged bytes with errors of every kind.
            if not self.is_damage(error):
                raise
            return [unreadable_rows(self.file.rows_of(group), self._damage(group, names, error))]

    def _read(self, group: int, names: Sequence[str]) -> list[TableRows]:
        parts = [self._rows(batch) for batch in self.file.batches(group, names)]
        if sum(map(len, parts)) != self.file.rows_of(group):
            raise ValueError(f"row group {group} has another number of rows than the footer says")
        return parts

    def _damage(self, group: int, names: Sequence[str], error: Exception) -> str:
        """Return in words which column of a row group is damaged."""
        for name in names:
            try:
                for _ in self.file.batches(group, [name]):
                    pass
            except Exception as found:
                return f"column {name} cannot be read ({first_line(found)})"
        return f"cannot be read ({first_line(error)})"

    def _rows(self, batch: pa.RecordBatch) -> TableRows:
        found = _Batch(batch, self.wanted, self.fault)
        uid, key, caption = (found.text(name) for name in NAMING)
        url, sha256 = (found.optional(name) for name in OPTIONAL)
        width, height = found.size("width"), found.size("height")
        found.note(key.not_utf8, "key_not_utf8", "the key is no text")
        found.note(key.too_long, "name_too_long", f"the key has more than {MAX_NAME_CHARACTERS} bytes")
        found.note(caption.not_utf8, "caption_not_utf8", "the caption is no text")
        found.note(caption.too_long, "caption_too_long", f"has more than {MAX_CAPTION_BYTES} bytes")
        # Also where the column has no type: pandas writes it so if all captions are missing.
        if "caption" in self.wanted:
            found.note(blank_captions(caption.values), "caption_empty", "holds no text")
        over = self._over(caption.values, key.values, url)
        found.note(over, "shard_text_too_large", f"captions and keys of its file exceed {self.file.allowed} bytes")
        captions = pc.if_else(pa.array(over), "", caption.values) if over.any() else caption.values
        urls = pc.if_else(pa.array(over), None, url) if over.any() else url
        uids = pc.ascii_lower(uid.values)
        # A sample without a key is named by its uid.
        keys = pc.coalesce(pc.if_else(pc.equal(key.values, ""), None, key.values), uids, "")
        columns = [uids, keys, captions.fill_null(""), width, height, urls, pc.ascii_lower(sha256)]
        table = pa.table(columns, schema=SCHEMA)
        return TableRows(table, found.reasons, found.details)

    def _over(self, *columns: pa.StringArray) -> npt.NDArray[np.bool_]:
        """Return the rows after those whose texts, and those before, are as long as the file's may be together."""
        lengths = [pc.binary_length(column).fill_null(0).to_numpy().astype(np.int64) for column in columns]
        ends = self.text_bytes + np.cumsum(np.sum(lengths, axis=0))
        self.text_bytes = int(ends[-1]) if len(ends) else self.text_bytes
        return np.asarray(ends > self.file.allowed, dtype=bool)


class _Batch:
    """A batch of rows, and what is wrong with each: the first thing that is found."""

    def __init__(self, batch: pa.RecordBatch, wanted: dict[str, str], fault: str) -> None:
        self.batch, self.wanted = batch, wanted
        self.reasons, self.details = _words(len(batch), UNREADABLE if fault else ""), _words(len(batch), fault)

    def has(self, name: str) -> bool:
        """Return whether there is such a column; one of nulls alone, without a type, is none."""
        given = self.wanted.get(name)
        return given is not None and not pa.types.is_null(self.batch.schema.field(given).type)

    def text(self, name: str) -> Texts:
        """Return a column of text, null where there is none."""
        nothing = np.zeros(len(self.batch), dtype=bool)
        try:
            if self.has(name):
                return texts(self.wanted[name], self.batch.column(self.wanted[name]), LONGEST[name])
        except ColumnError as error:
            self.note(~nothing, UNREADABLE, str(error))
        return Texts(pa.nulls(len(self.batch), pa.string()), nothing, nothing)

    def optional(self, name: str) -> pa.StringArray:
        """Return a column of text, null where there is none that can be read."""
        try:
            if self.has(name):
                found = texts(self.wanted[name], self.batch.column(self.wanted[name]), LONGEST[name])
                return pc.if_else(pa.array(found.not_utf8 | found.too_long), None, found.values)
        except ColumnError:
            pass
        return pa.nulls(len(self.batch), pa.string())

    def size(self, name: str) -> pa.Int32Array:
        """Return a column of pixels, null where there is none."""
        try:
            if self.has(name):
                return sizes(self.wanted[name], self.batch.column(self.wanted[name]))
        except ColumnError as error:
            self.note(np.ones(len(self.batch), dtype=bool), UNREADABLE, str(error))
        return pa.nulls(len(self.batch), pa.int32())

    def note(self, rows: npt.NDArray[np.bool_], reason: str, detail: str) -> None:
        """Give rows a reason, unless they have one."""
        if not rows.any():
            return
        fresh = rows & (self.reasons == "")
        self.reasons[fresh], self.details[fresh] = reason, detail


def _columns_of(schema: pa.Schema, names: ColumnNames) -> tuple[dict[str, str], list[str]]:
    """Return which columns of a table are read, by our names for them, and what is wrong with its columns as such."""
    wanted = dict[str, str]()
    faults = list[str]()
    for name, known in names.known.items():
        if (given := column(schema.names, known)) is None:
            faults += [f"has no column {known[0]}"] if name in names.required else []
            continue
        kind = schema.field(schema.names.index(given)).type
        if name in OPTIONAL and (schema.names.count(given) > 1 or pa.types.is_nested(kind)):
            continue
        if schema.names.count(given) > 1:
            faults.append(f"has {schema.names.count(given)} columns {given}")
        elif pa.types.is_nested(kind):
            faults.append(f"column {given} holds {kind}, not {'text' if name in LONGEST else 'numbers'}")
        else:
            wanted[name] = given
    return wanted, faults


def _words(count: int, word: str) -> Words:
    return np.full(count, word, dtype=object)
