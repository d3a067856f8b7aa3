"""The record of an incremental run in its folder, and the note that its deletion has begun."""

from typing import NotRequired, TypedDict

from filtering.core.errors import InputError
from filtering.storage.store import Store

# The file's name is older than the term.
RECORD = "night.json"
# Written before the data of an old run is deleted: the folder then holds no run any more.
RETIRED = "retired.json"


class IncrementRecord(TypedDict):
    """The base of an incremental run (None: the first run has none), its start, and whether it has been verified.

    `started` is in seconds since the epoch. `name` is that of the run's folder: a copy of it under another name is not
    deleted with the old runs. Records of older versions have none.
    """

    base: str | None
    started: float
    verified: bool
    name: NotRequired[str]


def read_increment(run: Store) -> IncrementRecord | None:
    """Return the record of an incremental run; None if the folder holds no such run, InputError if it is no record."""
    if not run.exists(RECORD):
        return None
    found: object = run.read_json(RECORD)
    if not (
        isinstance(found, dict)
        and isinstance(found.get("base", 0), str | None)
        and isinstance(found.get("started"), int | float)
        and isinstance(found.get("verified"), bool)
    ):
        raise InputError(f"{run.path(RECORD)}: is no record of an incremental run; choose another output")
    record = IncrementRecord(base=found["base"], started=found["started"], verified=found["verified"])
    return record | {"name": str(found["name"])} if "name" in found else record


def write_increment(run: Store, record: IncrementRecord) -> None:
    """Write the record of an incremental run."""
    run.write_json(RECORD, record | {"name": folder_name(run)})


def folder_name(run: Store) -> str:
    """Return the name of a run's folder."""
    return run.url.rstrip("/").rpartition("/")[2]
