"""Retention: old nights go, except the objects in them that a night which stays refers to."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from filtering.base import RUN, Base, read_base
from filtering.embedding.objects import read_whereabouts
from filtering.graph.objects import CHOSEN_NAME, GRAPH_NAME, QUERIES_NAME, read_origins
from filtering.storage import Store

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
    """

    name: str
    started: float
    verified: bool
    retired: bool


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
    # A night that never ended may still be taken up, as long as none that stays is older.
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
            yield Night(name, night["started"], night["verified"], False)


def _needed(root: Store, stay: set[str]) -> Iterator[str]:
    """Yield the URLs, or their beginnings, of the objects that the nights which stay refer to."""
    for name in stay:
        base = read_base(root.path(name))
        yield from _embeddings(base)
        yield from _parts(base)


def _embeddings(base: Base) -> Iterator[str]:
    where = read_whereabouts(base.store("embedding"), base.fingerprint("embedding"))
    for identity, place in where.items():
        yield f"{place[0]}/{identity}"


def _parts(base: Base) -> Iterator[str]:
    origins = read_origins(base.store("graph"))
    for partition in range(len(origins.run_of)):
        origin = origins.of(partition)
        if origin is not None:
            for name in (GRAPH_NAME, CHOSEN_NAME, QUERIES_NAME):
                yield origin[0].path(name.format(partition))


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
    return url in needed or f"{folder}/{name.partition('.')[0]}" in needed
