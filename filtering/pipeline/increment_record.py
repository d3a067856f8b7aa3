"""The record of an incremental run in its folder, and the note that its deletion has begun."""

from typing import NotRequired

from typing_extensions import TypedDict

from filtering.core.parsing import Finite
from filtering.runtime import references
from filtering.storage.reading import read_as
from filtering.storage.store import Store

# The file's name is older than the term.
RECORD = "night.json"
# Written before the data of an old run is deleted: the folder then holds no run any more.
RETIRED = "retired.json"


class IncrementRecord(TypedDict):
    """The base of an incremental run (None: the first run has none), its start, and whether it has been verified.

    `started` is in seconds since the epoch. `name` is that of the run's folder: a copy of it under another name is not
    deleted with the old runs. `run` is where the run was, see `filtering.runtime.references`. Records of older versions
    have neither.
    """

    base: str | None
    started: Finite
    verified: bool
    name: NotRequired[str]
    run: NotRequired[str]


def read_increment(run: Store) -> IncrementRecord | None:
    """Return the record of an incremental run; None if the folder holds none, DamagedError if it is something else."""
    if not run.exists(RECORD):
        return None
    record = read_as(run, RECORD, IncrementRecord, "choose another output")
    if record["base"] is None:
        return record
    return record | {"base": references.found(run, record.get("run"), record["base"])}


def write_increment(run: Store, record: IncrementRecord) -> None:
    """Write the record of an incremental run."""
    base = None if record["base"] is None else references.named(run, record["base"])
    run.write_json(RECORD, record | {"base": base, "name": folder_name(run), "run": run.url})


def folder_name(run: Store) -> str:
    """Return the name of a run's folder."""
    return run.url.rstrip("/").rpartition("/")[2]
