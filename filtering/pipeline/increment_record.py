"""The record of an incremental run: night.json in its folder, written when the run begins and when it is verified."""

from typing import TypedDict

from filtering.storage.store import Store

# The file's name is older than the term.
RECORD = "night.json"
# Written before the data of an old run is deleted: the folder then holds no run any more.
RETIRED = "retired.json"


class IncrementRecord(TypedDict):
    """The base of an incremental run (None: the first run has none), its start, and whether it has been verified.

    `started` is in seconds since the epoch.
    """

    base: str | None
    started: float
    verified: bool


def read_increment(run: Store) -> IncrementRecord | None:
    """Return the record of an incremental run; None if the folder holds no such run."""
    if not run.exists(RECORD):
        return None
    record: IncrementRecord = run.read_json(RECORD)
    return record


def write_increment(run: Store, record: IncrementRecord) -> None:
    """Write the record of an incremental run."""
    run.write_json(RECORD, record)
