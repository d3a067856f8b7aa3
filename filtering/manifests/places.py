"""Where what is written of finished runs may go: into no run's folder, and not where a run's pool is."""

import contextlib
import os
from collections.abc import Iterator

from filtering.config.input import KINDS, Folders, Kind
from filtering.core.errors import FilteringError, InputError
from filtering.manifests.written import WrittenManifest
from filtering.runtime.events import first_event
from filtering.runtime.records import json_object
from filtering.runtime.run_record import RUN, read_run
from filtering.shards.inventory import vector_urls
from filtering.storage.outputs import Layout, check_inputs
from filtering.storage.store import Store, filesystem_of, is_local
from filtering.storage.urls import is_http


def check_apart(url: str, layout: Layout, *runs: Store) -> None:
    """Refuse to write into the directory of any run, or where the inputs of `runs`, finished ones, are: InputError."""
    for folder in _upwards(url):
        try:
            inside = holds_run(Store(folder))
        except FilteringError:
            # Who may not read a folder may, as a rule, read none that it lies in, and each try takes seconds.
            break
        if inside:
            raise InputError(f"{layout.key}: {url} is inside the run's directory {folder}; choose a folder outside it")
    for run in runs:
        check_inputs(Store(url), layout, _inputs(run))


def holds_run(folder: Store) -> bool:
    """Return whether a folder is that of a run, finished or begun; what is no record there makes none.

    InputError or RunError if the store refuses to say, or keeps failing.
    """
    with contextlib.suppress(OSError):
        if "run_id" in json_object(folder.read(RUN)):
            return True
    with contextlib.suppress(OSError):
        return "config_hash" in first_event(folder)
    return False


def _upwards(url: str) -> Iterator[str]:
    """Yield a folder and those that it lies in, the innermost first; links on a disk are followed."""
    if is_http(url):
        # Nothing can be written there, and whoever tries says so.
        return
    folder = os.path.realpath(filesystem_of(url)[1]) if is_local(url) else url.rstrip("/")
    least = 0 if is_local(url) else len(folder.partition("://")[0]) + len("://")
    while len(folder) > least:
        yield folder
        folder = folder[:least] + folder[least:].rpartition("/")[0].rstrip("/")


def _inputs(run: Store) -> Iterator[str]:
    """Yield the URL of every object of a run's pool."""
    record = read_run(run)
    source = record["config"]["input"]
    kind: Kind = next((kind for kind in KINDS if source.get(kind) is not None), "shards")
    folders = Folders(**source["folders"]) if "folders" in source else Folders()
    concepts = str(record["config"].get("concepts", {}).get("embedding") or "")
    for line in WrittenManifest(run, record).shard_lines():
        yield line["url"]
        yield from vector_urls(kind, folders, line["url"], concepts)
