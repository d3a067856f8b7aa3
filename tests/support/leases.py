"""Leases of other processes and other machines."""

import multiprocessing
import os
import time
from multiprocessing.connection import Connection
from pathlib import Path

from filtering.core.clock import Clock
from filtering.core.errors import InputError, RunError
from filtering.storage.lease import Lease
from filtering.storage.lease_record import Holder, object_name, this_process
from filtering.storage.store import Store


class Process:
    """A process that takes a lease when told `go` and then answers `check` and `release`."""

    def __init__(self, url: str, heartbeat: float, ahead: float, environment: dict[str, str]) -> None:
        # Forked from a process that has imported everything: eight of them start in no time.
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["filtering.storage.lease", "s3fs"])
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, url, heartbeat, ahead, environment), daemon=True)
        self.process.start()
        self.pid = self.process.pid

    def tell(self, word: str) -> None:
        self.pipe.send(word)

    def answer(self) -> str:
        assert self.pipe.poll(60), "no answer"
        return self.pipe.recv()

    def ask(self, word: str) -> str:
        self.tell(word)
        return self.answer()

    def end(self) -> None:
        self.process.kill()
        self.process.join()


def elsewhere(now: float, **fields: object) -> Holder:
    """A holder on another machine that took its lease two hours before its last heartbeat, `now`."""
    machine = {"host": "gpu-head-1", "pid": 4711, "boot": "b", "pid_namespace": "pid:[1]", "started": 5}
    known = {"token": 1, "job": None, "acquired": now - 7200, "heartbeat": now, "nonce": "elsewhere"}
    return this_process(now).model_copy(update=machine | known | fields)


def put(run: Path, holder: Holder) -> None:
    Store(str(run)).child("lease").write(object_name(holder.token), holder.data())


def _serve(pipe: Connection, url: str, heartbeat: float, ahead: float, environment: dict[str, str]) -> None:
    os.environ.update(environment)
    pipe.send("ready")
    pipe.recv()
    try:
        clock = Clock(wall=lambda: time.time() + ahead)
        with Lease(Store(url), heartbeat_seconds=heartbeat, clock=clock) as lease:
            pipe.send(f"held, from {lease.taken_over_from}")
            while pipe.recv() == "check":
                pipe.send(_checked(lease))
    except InputError as error:
        pipe.send(str(error))
        return
    pipe.send("released")


def _checked(lease: Lease) -> str:
    try:
        lease.check()
        lease.fence().check()
    except RunError as error:
        return str(error)
    return "holds"
