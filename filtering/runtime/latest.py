"""`latest.json`: the newest verified incremental run under a root of runs, as one object that is written whole."""

from typing import Annotated

from pydantic import Field
from typing_extensions import TypedDict

from filtering.core.errors import InputError
from filtering.core.parsing import Finite
from filtering.core.places import PathOrUrl, as_text
from filtering.runtime.run_record import RUN
from filtering.storage.reading import read_as
from filtering.storage.store import Store, absolute

LATEST = "latest"
POINTER = "latest.json"
REMEDY = "delete it, and set base to the newest run beside it"


class LatestRecord(TypedDict):
    """The name of the run's folder, its start in seconds since the epoch, its id and its manifest hash."""

    # A folder beside it: what stands there must not lead elsewhere.
    run: Annotated[str, Field(pattern="^[^/]*[^/.][^/]*$")]
    started: Finite
    run_id: str
    manifest_hash: str


def root_of(run: Store) -> Store:
    """Return the folder that holds a run's folder."""
    return Store(run.url.rstrip("/").rpartition("/")[0])


def read_latest(root: Store) -> LatestRecord | None:
    """Return the newest verified run; None before the first; DamagedError if the object says something else."""
    return read_as(root, POINTER, LatestRecord, REMEDY) if root.exists(POINTER) else None


def latest_name(root: Store) -> str | None:
    """Return the name of the newest verified run; None before the first."""
    latest = read_latest(root)
    return None if latest is None else latest["run"]


def run_url(url: PathOrUrl) -> str:
    """Return the absolute directory of a run; ROOT/latest is the newest verified run, InputError before the first."""
    found = Store(absolute(as_text(url).rstrip("/")))
    root, name = root_of(found), found.url.rpartition("/")[2]
    if name != LATEST or found.exists(RUN):
        return found.url
    latest = latest_name(root)
    if latest is None:
        raise InputError(f"{url}: no incremental run has finished there yet (no {POINTER})")
    return root.path(latest)
