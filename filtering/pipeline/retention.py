"""Records of incremental runs, and retention: older ones are deleted, except data that retained runs reference."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from filtering.core.errors import FilteringError
from filtering.embedding.locations import shard_locations
from filtering.graph.artifacts import GRAPHS, PART_NAMES, read_origins
from filtering.pipeline.increment_record import RETIRED, IncrementRecord, folder_name, read_increment
from filtering.pipeline.layout import is_own
from filtering.runtime.finished_run import Base, read_base
from filtering.runtime.run_record import RUN
from filtering.storage.outputs import place_of
from filtering.storage.store import Store


@dataclass(frozen=True, slots=True)
class Increment:
    """The folder of an incremental run."""

    name: str
    started: float  # seconds since the epoch
    verified: bool  # whether the run has finished and was verified
    retired: bool  # whether its deletion has begun
    base: str = ""  # the name of its base's folder; empty if it has no base


def retire(root: Store, most: int, latest: str | None, say: Callable[[str], None]) -> list[str]:
    """Delete all but the newest `most` verified runs, except data that retained runs reference; return their names.

    Folders under the root that hold no incremental run are left alone; the run `latest` is always retained.
    """
    runs = sorted(_increments(root), key=lambda run: (run.started, run.name), reverse=True)
    sound = [run for run in runs if run.verified and not run.retired]
    retained = {run.name for run in sound[:most]} | ({latest} if latest else set())
    oldest = min((run.started for run in sound if run.name in retained), default=0.0)
    # An unfinished run may be resumed, and needs its base for that, as long as no retained run is older.
    unfinished = {run.name for run in runs if not (run.verified or run.retired or run.started < oldest)}
    retained |= {run.base for run in runs if run.name in unfinished and run.base}
    leaving = [run for run in runs if run.name not in retained | unfinished]
    if not leaving:
        return []
    needed = set(_needed(root, retained))
    for run in leaving:
        _delete(root, run, needed)
    gone = [run.name for run in leaving if not run.retired]
    if gone:
        say(f"deleted {len(gone)} older run{'s' * (len(gone) > 1)}: {', '.join(sorted(gone))}")
    return gone


def _increments(root: Store) -> Iterator[Increment]:
    for name in root.names():
        folder = root.child(name)
        if _is_retired(folder):
            yield Increment(name, 0.0, verified=False, retired=True)
        elif (record := _record(folder)) is not None:
            base = (record["base"] or "").rstrip("/").rpartition("/")[2]
            yield Increment(name, record["started"], record["verified"], retired=False, base=base)


def _is_retired(folder: Store) -> bool:
    try:
        return folder.exists(RETIRED) and folder.read_json(RETIRED) == {"name": folder_name(folder)}
    except FilteringError:
        return False


def _record(folder: Store) -> IncrementRecord | None:
    """Return the record of an incremental run; None where somebody else wrote it, or copied it with the run."""
    try:
        record = read_increment(folder)
    except FilteringError:
        return None
    return record if record and record.get("name", folder_name(folder)) == folder_name(folder) else None


def _needed(root: Store, retained: set[str]) -> Iterator[str]:
    """Yield the paths, or their beginnings, of the objects that retained runs reference."""
    for name in retained & set(root.names()):
        base = read_base(root.child(name))
        yield from _embeddings(base)
        yield from _parts(base)


def _embeddings(base: Base) -> Iterator[str]:
    for identity, location in shard_locations(base).items():
        yield f"{_path(location.store.url)}/{identity}"


def _parts(base: Base) -> Iterator[str]:
    for graph in filter(base.has, GRAPHS):
        origins = read_origins(base.store(graph))
        for partition in range(len(origins.run_of)):
            origin = origins.of(partition)
            if origin is not None:
                for name in PART_NAMES:
                    yield f"{_path(origin[0].url)}/{name.format(partition)}"


def _delete(root: Store, run: Increment, needed: set[str]) -> None:
    """Delete a run: first its run.json, then all data that is not needed, the note of its end last.

    What is in its folder and was not written by a run stays, and so do the folder and the note.
    """
    folder = root.child(run.name)
    if not run.retired:
        folder.write_json(RETIRED, {"name": run.name})
    folder.delete(RUN)
    top, note = folder.url.rstrip("/") + "/", folder.path(RETIRED)
    left = folder.delete_but(lambda url: url == note or not is_own(url.removeprefix(top)) or _is_needed(url, needed))
    if left <= 1:
        root.delete_folder(run.name)


def _is_needed(url: str, needed: set[str]) -> bool:
    # Objects of a shard begin with its identity; those of a partition are named in full.
    folder, _, name = url.rpartition("/")
    path = _path(folder)
    return f"{path}/{name}" in needed or f"{path}/{name.partition('.')[0]}" in needed


@lru_cache(maxsize=4096)
def _path(folder: str) -> str:
    """Return the run, `stages` and folder of a stage: runs may have named their root in different ways, or moved."""
    return "/".join(place_of(folder).rsplit("/", 3)[1:])
