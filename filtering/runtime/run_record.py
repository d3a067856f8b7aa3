"""A run's record: run.json, written last, so that its presence means that the run is finished."""

from typing import Any

from filtering.core.errors import InputError
from filtering.storage.store import Store

RUN = "run.json"


def read_run(run: Store) -> dict[str, Any]:
    """Return run.json of a finished run.

    Raises
    ------
    InputError
        If there is no finished run.
    """
    if not run.exists(RUN):
        raise InputError(f"{run.url}: holds no finished run (no {RUN})")
    record: dict[str, Any] = run.read_json(RUN)
    return record
