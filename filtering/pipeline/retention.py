"""Retention: old nights go, except the objects in them that a night which stays refers to."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from filtering.embedding.artifacts import shard_locations
from filtering.graph.artifacts import CHOSEN_NAME, GRAPH_NAME, QUERIES_NAME, read_origins
from filtering.runtime.finished_run import Base, read_base
from filtering.runtime.run_record import RUN
from filtering.storage.store import Store, filesystem_of, is_local

NIGHT = "night.json"
# Written before anything of a night is deleted: what is left of it is no run any more.
RETIRED = "retired.json"


@dataclass(frozen=True, slots=True)
class Night:
    """A night's folder under the root.

    Attributes
    ----------
    name : of the folder.
    started : seconds since the epoch.
    verified : whether it is finished and was found sound.
    retired : whether its deletion has begun.
    base : the name of the folder from which it started; empty where it started from none.
    """

    name: str
    started: float
    verified: bool
    retired: bool
    base: str = ""


def retire(root: Store, most: int, latest: str | None, say: Callable[[str], None]) -> list[str]:
    """Delete all nights but the newest, and of those that go all but what the others refer to; return their names.

    Parameters
    ----------
    root : Store
        The folder in which the nights' folders lie. What is no night's is left alone.
    most : int
        Verified nights that stay.
    latest : str or None
        A night that stays in any case.
    say : callable
        Told what goes.
    """
    nights = sorted(_nights(root), key=lambda night: (night.started, night.name), reverse=True)
    sound = [night for night in nights if night.verified and not night.retired]
    stay = {night.name for night in sound[:most]} | ({latest} if latest else set())
    oldest = min((night.started for night in sound if night.name in stay), default=0.0)
    # A night that never ended may still be taken up, and needs its base for that, as long as none that stays is older.
    stay |= {n.base for n in nights if n.base and not (n.verified or n.retired or n.started < oldest)}
    leaving = [n for n in nights if n.name not in stay and (n.verified or n.retired or n.started < oldest)]
    if not leaving:
        return []
    needed = set(_needed(root, stay))
    for night in leaving:
        _delete(root, night, needed)
    gone = [night.name for night in leaving if not night.retired]
    if gone:
        say(f"retired {len(gone)} night{'s' * (len(gone) > 1)}: {', '.join(sorted(gone))}")
    return gone


def _nights(root: Store) -> Iterator[Night]:
    for name in root.names():
        folder = root.child(name)
        retired = folder.exists(RETIRED)
        if retired:
            yield Night(name, 0.0, False, True)
        elif folder.exists(NIGHT):
            night = folder.read_json(NIGHT)
            base = (night["base"] or "").rstrip("/").rpartition("/")[2]
            yield Night(name, night["started"], night["verified"], False, base)


def _needed(root: Store, stay: set[str]) -> Iterator[str]:
    """Yield the places, or their beginnings, of the objects that the nights which stay refer to."""
    for name in stay & set(root.names()):
        base = read_base(root.path(name))
        yield from _embeddings(base)
        yield from _parts(base)


def _embeddings(base: Base) -> Iterator[str]:
    for identity, place in shard_locations(base).items():
        yield f"{_place(place[0])}/{identity}"


def _parts(base: Base) -> Iterator[str]:
    origins = read_origins(base.store("graph"))
    for partition in range(len(origins.run_of)):
        origin = origins.of(partition)
        if origin is not None:
            for name in (GRAPH_NAME, CHOSEN_NAME, QUERIES_NAME):
                yield f"{_place(origin[0].url)}/{name.format(partition)}"


def _delete(root: Store, night: Night, needed: set[str]) -> None:
    """Delete a night: first what makes it a run, then all that is not needed, the note of its end last."""
    folder = root.child(night.name)
    if not night.retired:
        folder.write_json(RETIRED, {"name": night.name})
    folder.delete(RUN)
    left = folder.delete_but(lambda url: url.endswith(f"/{RETIRED}") or _is_needed(url, needed))
    if left <= 1:
        root.delete_folder(night.name)


def _is_needed(url: str, needed: set[str]) -> bool:
    # Objects of a shard begin with its identity; those of a partition are named in full.
    folder, _, name = url.rpartition("/")
    place = _place(folder)
    return f"{place}/{name}" in needed or f"{place}/{name.partition('.')[0]}" in needed


@lru_cache(maxsize=4096)
def _place(folder: str) -> str:
    """Return where a folder is, however its URL is spelled: nights may have named their root in other ways."""
    path = filesystem_of(folder)[1].rstrip("/")
    return os.path.realpath(path) if is_local(folder) else path
