"""Folders of runs that an object of a run names by their URLs, found again wherever the run is read.

Such an object says besides where its own run was when it was written. Where that is not where it is read, the run was
moved or copied, or another machine sees the disk under another path: what was in the run, or beside it under the same
root, is then looked for in the run and beside it. Objects of older versions do not say where their run was.
"""

from filtering.runtime.latest import root_of
from filtering.storage.outputs import place_of
from filtering.storage.store import Store, is_local


def run_of(stage: Store) -> Store:
    """Return the directory of the run that a stage's folder belongs to."""
    return root_of(root_of(stage))


def named(run: Store, url: str) -> str:
    """Return how an object of a run names a folder: one under the run's root by that root, however `url` spells it."""
    root = root_of(run)
    if url.startswith(root.path("")) or not is_local(url):
        return url
    place, top = place_of(url), f"{place_of(root.url)}/"
    return root.path(place.removeprefix(top)) if place.startswith(top) else url


def found(run: Store, before: str | None, url: str) -> str:
    """Return where a folder is that an object of a run names; `before` is where the run was then, None if not known.

    A folder beside the run is where it was if it has not come along, as of a run that was copied alone.
    """
    here = run.url.rstrip("/")
    if before is None or before.rstrip("/") == here:
        return url
    if f"{url}/".startswith(Store(before).path("")):
        return here + url.removeprefix(before.rstrip("/"))
    root, top = root_of(run), root_of(Store(before)).path("")
    name = url.removeprefix(top)
    return root.path(name) if name != url and root.exists(name) else url
