"""Fields of samples in columns of tables; see `filtering.shards.fields`."""

import contextlib
import io
from collections.abc import Callable, Iterator, Sequence

import pyarrow as pa

from filtering.config.validation import nearest
from filtering.core.errors import InputError
from filtering.core.schemas import field_type
from filtering.shards.fields import Cell, cell
from filtering.shards.inventory import Shard
from filtering.shards.metadata import UnreadableError, opened
from filtering.shards.names import column
from filtering.shards.parquet import BoundedParquet


def read_fields(url: str, names: Sequence[str], count: int) -> dict[str, pa.Array]:
    """Return some columns of a table of `count` rows, by name; null where a cell is missing or cannot be read.

    Damaged row groups have none, and neither has a table without the column. What the storage raises passes as it is.
    """
    with opened(url, "the table") as stream:
        file = BoundedParquet(stream.stream, stream.seek(0, io.SEEK_END))
        return {name: _column(file, name, count, lambda error: stream.failure is None) for name in names}


def check_fields(shards: Sequence[Shard], names: Sequence[str]) -> None:
    """Refuse a field that the first table that can be read does not have: InputError with the nearest column."""
    for shard in shards if names else ():
        with contextlib.suppress(UnreadableError, FileNotFoundError), opened(shard.url, "the table") as stream:
            there = BoundedParquet(stream.stream, stream.seek(0, io.SEEK_END)).schema.names
            missing = next((name for name in names if column(there, (name,)) is None), None)
            if missing is not None:
                raise InputError(f"input.fields: {shard.url} has no column {missing}{nearest(missing, there)}")
            return


def _column(file: BoundedParquet, name: str, count: int, is_damage: Callable[[Exception], bool]) -> pa.Array:
    cells = list[Cell]()
    for group in file.groups:
        begun = len(cells)
        try:
            cells += _cells(file, group, name)
        except MemoryError:
            raise
        except Exception as error:
            # Readers meet damaged bytes with errors of every kind.
            if not is_damage(error):
                raise
            del cells[begun:]
        cells += [None] * (begun + file.rows_of(group) - len(cells))
    return pa.array((cells + [None] * count)[:count], field_type(name))


def _cells(file: BoundedParquet, group: int, name: str) -> Iterator[Cell]:
    given = column(file.schema.names, (name,))
    if given is None or file.schema.names.count(given) > 1:
        return
    file.check([given])
    for batch in file.batches(group, [given]):
        yield from (cell(name, value) for value in batch.column(0).to_pylist())
