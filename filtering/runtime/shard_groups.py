"""Many small shards: a task works through several that follow one another, with a result for each and one marker.

Which shards go together follows from the pool alone, so that a resumed run finds the markers of its tasks. What the
shards of a task send through the shuffle is one object (`write_shared`): readers ask as many objects as there are
tasks, however many shards there are.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Protocol, TypeVar

from typing_extensions import TypedDict

from filtering.core.errors import DamagedError
from filtering.runtime.task_spec import TaskSpec
from filtering.storage.at_once import each_at_once
from filtering.storage.reading import read_record_as
from filtering.storage.store import MARKER, Store, digest

# Stages over fewer shards have a task for each; a task of several has at most so many bytes of the pool, or one shard.
MOST_TASKS = 1_000
GROUP_BYTES = 64 << 20
GROUP_PREFIX = "group-"


class Together(TypedDict):
    """What is read of the record of a task of several shards."""

    shards: list[str]


class Sized(Protocol):
    """A shard, in whatever form."""

    @property
    def identity(self) -> str:
        """Name the shard, with its version."""

    @property
    def bytes(self) -> int:
        """The bytes of its objects."""


S = TypeVar("S", bound=Sized)


def spans(sizes: Sequence[int]) -> list[slice]:
    """Return which of some shards, by their bytes, go together: at most `MOST_TASKS` spans unless bytes forbid it."""
    most = max(1, -(-len(sizes) // MOST_TASKS))
    found, start, together = list[slice](), 0, 0
    for at, size in enumerate(sizes):
        if at > start and (at - start >= most or together + size > GROUP_BYTES):
            found.append(slice(start, at))
            start, together = at, 0
        together += size
    return [*found, slice(start, len(sizes))] if sizes else []


def group_identity(identities: Sequence[str]) -> str:
    """Return the name of shards that go together: of one its own."""
    return identities[0] if len(identities) == 1 else f"{GROUP_PREFIX}{digest(list(identities))}"


def sent_names(name: Callable[[str], str], shards: Sequence[Sized], wrote: Sequence[object] | None = None) -> list[str]:
    """Return the names of the objects that the tasks of a stage over shards have written together.

    `name` makes a name of a shard's identity; `wrote` says of each shard whether it has written anything, all of them
    unless given.
    """
    found = []
    for span in spans([shard.bytes for shard in shards]):
        if wrote is None or any(wrote[span]):
            found.append(name(group_identity([shard.identity for shard in shards[span]])))
    return found


def named_groups(shards: Sequence[S]) -> list[tuple[S, str]]:
    """Return the first of the shards that go together in a stage over some, and the name of them all."""
    found = spans([shard.bytes for shard in shards])
    return [(shards[span.start], group_identity([one.identity for one in shards[span]])) for span in found]


def group_names(shards: Sequence[Sized]) -> list[str]:
    """Return for each of some shards the name of those that go together with it in a stage over them."""
    found = list[str]()
    for span in spans([shard.bytes for shard in shards]):
        found += [group_identity([one.identity for one in shards[span]])] * (span.stop - span.start)
    return found


def group_identities(shards: Sequence[Sized]) -> list[str]:
    """Return the names of the shards that go together in a stage over some."""
    return [name for _, name in named_groups(shards)]


def grouped(tasks: Sequence[TaskSpec[Any]]) -> list[TaskSpec[Any]]:
    """Return the tasks of shards put together; others as they are."""
    if not all(one.shard for one in tasks):
        return list(tasks)
    return [group_of(tasks[span]) for span in spans([one.bytes for one in tasks])]


def together(tasks: Sequence[TaskSpec[Any]], lasting: Store | None) -> list[TaskSpec[Any]]:
    """Return the tasks that run some: those of shards put together.

    `lasting` is the stage's folder where it outlives changes of the pool: which shards an earlier attempt has put
    together stays, as their marker has their results.
    """
    if lasting is None or not all(one.shard for one in tasks):
        return grouped(tasks)
    left, there = {one.shard: one for one in tasks}, lasting.names(MARKER)
    markers = [name for name in there if name.startswith(GROUP_PREFIX)]
    done = list[TaskSpec[Any]]()
    for marker, shards in zip(markers, each_at_once(partial(_shards_of, lasting), markers), strict=True):
        if members := tuple(left.pop(shard) for shard in shards if shard in left):
            name = marker.removesuffix(MARKER)
            done.append(TaskSpec(name, None, shard=name, members=members))
    alone = {name.removesuffix(MARKER) for name in there}
    done += [left.pop(one.shard) for one in tasks if one.shard in left and one.name in alone]
    return done + grouped(list(left.values()))


def _shards_of(store: Store, marker: str) -> list[str]:
    """Return the shards that a task has worked through, none where that cannot be read."""
    try:
        return read_record_as(store, marker, Together)["shards"]
    except DamagedError:
        return []


def group_of(members: Sequence[TaskSpec[Any]]) -> TaskSpec[Any]:
    """Return one task that runs several: named like them, with the group's identity in the place of a shard's."""
    if len(members) == 1:
        return members[0]
    first, identity = members[0], group_identity([one.shard for one in members])
    name = first.name.replace(first.shard, identity)
    memory = max(one.memory for one in members)
    return TaskSpec(name, None, memory=memory, shard=identity, members=tuple(members))


@dataclass(slots=True)
class Packs:
    """The objects that the shards of one task share, while it runs."""

    identity: str  # of the group
    member: str = ""  # the identity of the shard whose turn it is
    parts: dict[tuple[Store, str], list[Any]] = field(default_factory=dict)
    writers: dict[tuple[Store, str], Callable[[Store, str, list[Any]], None]] = field(default_factory=dict)

    def shares(self, name: str) -> bool:
        """Say whether the shard whose turn it is names an object, so that it is one part of it."""
        return self.member in name

    def add(self, store: Store, name: str, part: Any, write: Callable[[Store, str, list[Any]], None]) -> None:
        """Take a shard's part of an object that `shares` says is one, which `write` writes of all parts."""
        place = store, name.replace(self.member, self.identity)
        self.parts.setdefault(place, []).append(part)
        self.writers[place] = write


class _Current(threading.local):
    packs: Packs | None = None


_current = _Current()


def current_packs() -> Packs | None:
    """Return what the shards of this thread's task share, None where it has one shard."""
    return _current.packs


def write_shared(store: Store, name: str, part: Any, write: Callable[[Store, str, list[Any]], None]) -> None:
    """Write an object of one shard, by `write` of its only part; where a task has several shards, of all their parts.

    It is then named by the group in the place of the shard, see `sent_names`.
    """
    packs = current_packs()
    if packs is None or not packs.shares(name):
        write(store, name, [part])
    else:
        packs.add(store, name, part, write)


@contextlib.contextmanager
def packed_together(identity: str) -> Iterator[Packs]:
    """Let the shards of a task share objects, which are written at the end of the block."""
    _current.packs = packs = Packs(identity)
    try:
        yield packs
    finally:
        _current.packs = None
    for (store, name), parts in packs.parts.items():
        packs.writers[store, name](store, name, parts)


def run_members(members: Sequence[TaskSpec[Any]], identity: str, function: Callable[..., Any] | None) -> list[Any]:
    """Run the tasks of a group one after the other; return their results."""
    results = []
    with packed_together(identity) as packs:
        for one in members:
            call, packs.member = one.function or function, one.shard
            assert call is not None
            results.append(call(*one.args, **one.kwargs))
    return results


def of_shard(task: TaskSpec[Any], shard: Sized) -> TaskSpec[Any]:
    """Return a task as one of a shard: its name has the shard's identity in it."""
    return replace(task, shard=shard.identity, bytes=shard.bytes)
