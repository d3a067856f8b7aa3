"""`latest`: the newest verified night under a root of runs, as one object that is written whole."""

from filtering.core.errors import InputError
from filtering.runtime.run_record import RUN
from filtering.storage.store import Store, absolute

LATEST = "latest"
POINTER = "latest.json"


def root_of(run: Store) -> Store:
    """Return the folder in which a run's folder lies."""
    return Store(run.url.rstrip("/").rpartition("/")[0])


def latest_name(root: Store) -> str | None:
    """Return the name of the newest verified night; None before the first."""
    return str(root.read_json(POINTER)["run"]) if root.exists(POINTER) else None


def run_url(url: str) -> str:
    """Return the directory of a run, absolute: `ROOT/latest` stands for the night that `latest.json` names.

    Raises
    ------
    InputError
        If it is asked for the latest night and there is none.
    """
    found = Store(absolute(url.rstrip("/")))
    root, name = root_of(found), found.url.rpartition("/")[2]
    if name != LATEST or found.exists(RUN):
        return found.url
    latest = latest_name(root)
    if latest is None:
        raise InputError(f"{url}: no night has been finished there yet (no {POINTER})")
    return root.path(latest)
