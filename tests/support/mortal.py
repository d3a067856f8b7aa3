"""A storage on which the process that writes to it dies at a chosen write.

`mortal://` is an fsspec filesystem in this process's memory. Whoever makes the n-th change to it (an object put or
deleted) gets a `Death`, and so does everything after that: as after kill -9, no handler and no `finally` changes
anything any more. What a write that was under way leaves on a local disk, half a temporary file, is left here too.

One process does all the work (`ray: {address: none}`), so that the changes come in one order, and every state in which
a kill can leave the storage is one of them.
"""

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import fsspec

from filtering.storage.checksums import KEY

PROTOCOL = "mortal"
# What differs between two runs that do the same.
MEASURED = {"time", "seconds", "finished", "started", "peak_memory_bytes", "retries", "read_bytes", "written_bytes"}
MEASURED |= {"waited_seconds", "forward_seconds", "created", "reused"}
HALF = ".0123456789abcdef0123456789abcdef.tmp"


class Death(BaseException):
    """What kill -9 does; no handler of ordinary errors takes it for one."""


@dataclass(frozen=True, slots=True)
class Change:
    """An object that was put, or deleted: then it has no data."""

    path: str
    data: bytes | None


class MortalStorage:
    """All objects behind `mortal://`, and how many changes the process that makes them has left to live.

    Attributes
    ----------
    objects : the bytes of each, by path.
    changes : what was changed, in order.
    """

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.changes: list[Change] = []
        self._left: int | None = None
        self._dead = False

    @contextmanager
    def dies_after(self, changes: int) -> Iterator[None]:
        """Let the process inside die at the change after so many, if it makes more."""
        self._left = changes
        try:
            with suppress(Death):
                yield
        finally:
            self._left, self._dead = None, False
        self._bury()

    def kill(self, before: dict[str, bytes], changes: Sequence[Change], after: int) -> None:
        """Leave what a process leaves that began with `before` and was killed at the change after so many."""
        self.objects = dict(before)
        for change in changes[:after]:
            if change.data is None:
                del self.objects[change.path]
            else:
                self.objects[change.path] = change.data
        if after < len(changes):
            self._leave_half(changes[after])
        self._bury()

    def alive(self) -> None:
        if self._dead:
            raise Death

    def change(self, path: str, data: bytes | None) -> None:
        self.alive()
        change = Change(path, data)
        # Heartbeats come when a run takes long, and mean nothing to it.
        if threading.current_thread().name != "lease":
            self._count(change)
        if data is None:
            del self.objects[path]
        else:
            self.objects[path] = data

    def _count(self, change: Change) -> None:
        if self._left == 0:
            self._dead = True
            self._leave_half(change)
            raise Death(change.path)
        if self._left is not None:
            self._left -= 1
        self.changes.append(change)

    def _leave_half(self, change: Change) -> None:
        if change.data is not None:
            self.objects[change.path + HALF] = change.data[: len(change.data) // 2]

    def _bury(self) -> None:
        # This process lives; the one that held the lease had its number, and began at another time.
        for path, data in self.objects.items():
            if path.split("/")[-2] == "lease" and path.endswith(".json"):
                holder = json.loads(data)
                self.objects[path] = json.dumps(holder | {"started": holder["started"] - 1}).encode()


def comparable(objects: Mapping[str, bytes]) -> dict[str, Any]:
    """Return the objects without what differs between two runs that do the same: leases, events, measured times."""
    told = {path: data for path, data in objects.items() if not path.endswith((HALF, "/events.jsonl", ".html"))}
    return {path: _without_measured(path, data) for path, data in told.items() if path.split("/")[-2] != "lease"}


def _without_measured(path: str, data: bytes) -> Any:
    if not path.endswith((".json", ".done")):
        return data
    # The page tells how long the run took: neither is it always equally long.
    measured = MEASURED | {KEY} | ({"bytes", "summary", "checksums"} if "/stages/report-" in path else set())
    return json.loads(data, object_hook=lambda read: {key: value for key, value in read.items() if key not in measured})


class _MortalFileSystem(fsspec.AbstractFileSystem):
    protocol = PROTOCOL
    storage: MortalStorage

    def ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:
        self.storage.alive()
        path = self._strip_protocol(path)
        if path in self.storage.objects:
            return [self.info(path)] if detail else [path]
        prefix = f"{path}/"
        inside = {name[len(prefix) :].partition("/")[0] for name in self.storage.objects if name.startswith(prefix)}
        if not inside:
            raise FileNotFoundError(path)
        names = sorted(prefix + name for name in inside)
        return [self.info(name) for name in names] if detail else names

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        self.storage.alive()
        path = self._strip_protocol(path)
        if path in self.storage.objects:
            return {"name": path, "size": len(self.storage.objects[path]), "type": "file"}
        if any(name.startswith(f"{path}/") for name in self.storage.objects):
            return {"name": path, "size": 0, "type": "directory"}
        raise FileNotFoundError(path)

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **_: Any) -> bytes:
        self.storage.alive()
        try:
            return self.storage.objects[self._strip_protocol(path)][start:end]
        except KeyError:
            raise FileNotFoundError(path) from None

    def _open(self, path: str, mode: str = "rb", **_: Any) -> BytesIO:
        assert mode == "rb", "objects are written whole"
        return BytesIO(self.cat_file(path))

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **_: Any) -> None:
        self.storage.change(self._strip_protocol(path), bytes(value))

    def put_file(self, lpath: str, rpath: str, **_: Any) -> None:
        self.pipe_file(rpath, Path(lpath).read_bytes())

    def get_file(self, rpath: str, lpath: str, **_: Any) -> None:
        Path(lpath).write_bytes(self.cat_file(rpath))

    def rm_file(self, path: str) -> None:
        path = self._strip_protocol(path)
        if path not in self.storage.objects:
            raise FileNotFoundError(path)
        self.storage.change(path, None)

    def rm(self, path: str | list[str], recursive: bool = False, maxdepth: int | None = None) -> None:
        for one in [path] if isinstance(path, str) else path:
            for name in self.find(one) if recursive else [one]:
                self.rm_file(name)

    def created(self, path: str) -> Any:
        raise NotImplementedError


def mortal_storage() -> MortalStorage:
    """Return a new, empty storage, which `mortal://` is from now on."""
    storage = MortalStorage()
    fsspec.register_implementation(PROTOCOL, type("Mortal", (_MortalFileSystem,), {"storage": storage}), clobber=True)
    return storage
