"""The objects of a lease: their names, what they say of the run that holds it, and whether it is dead for certain."""

import contextlib
import getpass
import json
import os
import re
import socket
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from filtering.storage.local import whole_name
from filtering.storage.store import Store

FOLDER = "lease"
LEASE_OBJECT = re.compile(r"[0-9]{8,}\.json")
# Without a heartbeat for so long, a holder counts as gone.
STALE_SECONDS = 60.0
# Ray gives the driver of a submitted job its submission id in here, and in no other variable.
RAY_JOB = "RAY_JOB_CONFIG_JSON_ENV_VAR"

# Up to the year 9892, so that every value can be printed as a date.
Seconds = Annotated[float, Field(ge=0, le=2.5e11, allow_inf_nan=False)]


class Holder(BaseModel):
    """A run that holds, or held, a lease; times are in seconds since the epoch by the holder's clock."""

    model_config = ConfigDict(frozen=True)

    token: int
    # Tells two runs apart that wrote the same token.
    nonce: str
    host: str
    pid: int = Field(gt=0, lt=1 << 31)
    user: str | None
    # Ray's submission id.
    job: str | None
    # With host and pid these name one process for ever; None without /proc. `started` is in clock ticks since boot.
    boot: str | None
    pid_namespace: str | None
    started: int | None
    acquired: Seconds
    heartbeat: Seconds
    # Heartbeats written so far.
    beats: int
    released: bool

    def __str__(self) -> str:
        job = f" (job {self.job})" if self.job else ""
        return " ".join(f"host {self.host}, process {self.pid}{job}".split())

    def since(self) -> str:
        """Return when it took the lease, for people to read."""
        return f"{datetime.fromtimestamp(self.acquired, UTC):%Y-%m-%d %H:%M:%S} UTC"

    def data(self) -> bytes:
        """Return the bytes of its lease object."""
        return self.model_dump_json(indent=1).encode() + b"\n"

    def died_here(self) -> bool:
        """Say whether it was a process of this machine and boot that is no more; False where that is unknown."""
        here = (socket.gethostname(), _boot(), _pid_namespace())
        if (self.host, self.boot, self.pid_namespace) != here or None in here or self.started is None:
            return False
        return not _is_alive(self.pid, self.started)


def this_process(now: float) -> Holder:
    """Return this process as the holder of no lease yet; `now` in seconds since the epoch."""
    return Holder(
        token=0,
        nonce=uuid.uuid4().hex,
        host=socket.gethostname(),
        pid=os.getpid(),
        user=_user(),
        job=_ray_job(),
        boot=_boot(),
        pid_namespace=_pid_namespace(),
        started=_own_start(),
        acquired=now,
        heartbeat=now,
        beats=0,
        released=False,
    )


def parsed(data: bytes) -> Holder | None:
    """Return what a lease object says; None if it is not one."""
    try:
        return Holder.model_validate_json(data)
    except ValidationError:
        return None


def object_name(token: int) -> str:
    """Return the name of the lease object with this token."""
    return f"{token:08d}.json"


def tokens_in(folder: Store) -> list[int]:
    """Return the tokens of the lease objects in a folder, ascending; one listing."""
    found = (re.fullmatch(r"([0-9]{8}|[1-9][0-9]{8,})\.json", name) for name in folder.names(".json"))
    return sorted(int(match[1]) for match in found if match)


def read_lease(folder: Store, token: int) -> bytes:
    """Return a lease object; nothing if a later holder has cleared it away, or a folder has its name."""
    try:
        return folder.read(object_name(token))
    except (FileNotFoundError, IsADirectoryError):
        return b""


def held(store: Store) -> bool:
    """Return whether a run or an export has ever held the lease on an output, which is the first that it writes.

    True as well where nothing but what it writes is there: one that was killed in this moment left half a file.
    """
    folder = store.child(FOLDER)
    tokens, names = tokens_in(folder), folder.names()
    return any(parsed(read_lease(folder, token)) for token in tokens) or all(
        whole_name(name) != name and LEASE_OBJECT.fullmatch(whole_name(name)) for name in names
    )


def taken_over(url: str, holder: Holder | None) -> str:
    """Return what a run says that finds its lease held by another."""
    when = f" at {holder.since()}" if holder else ""
    return f"the lease on {url} was taken over by {holder or 'another run'}{when}; this run stops"


def _user() -> str | None:
    # A container's user often has no name; Python says so by one of these.
    with contextlib.suppress(KeyError, OSError, ImportError):
        return getpass.getuser()
    return None


def _ray_job() -> str | None:
    with contextlib.suppress(KeyError, TypeError, ValueError):
        return str(json.loads(os.environ[RAY_JOB])["metadata"]["job_submission_id"])
    return None


def _boot() -> str | None:
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return None


def _pid_namespace() -> str | None:
    with contextlib.suppress(OSError):
        return str(Path("/proc/self/ns/pid").readlink())
    return None


def _own_start() -> int | None:
    with contextlib.suppress(OSError):
        pid, _, start = _stat("self")
        # A container may see the /proc of its host, where our number is another process's.
        return start if pid == os.getpid() else None
    return None


def _is_alive(pid: int, started: int) -> bool:
    try:
        _, state, start = _stat(str(pid))
    except OSError:
        return _is_hidden(pid)
    # A zombie has ended, although nobody has asked yet how.
    return start == started and state not in "ZX"


def _is_hidden(pid: int) -> bool:
    """Say whether a process that /proc does not show exists: /proc may hide those of other users."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _stat(process: str) -> tuple[int, str, int]:
    """Return a process's number, state and start in clock ticks since boot: fields 1, 3 and 22 of proc(5)."""
    number, _, rest = Path(f"/proc/{process}/stat").read_text("utf-8", "replace").partition(" ")
    # The name, in brackets, may hold brackets, spaces, and a character that was cut.
    fields = rest.rpartition(")")[2].split()
    return int(number), fields[0], int(fields[19])


def writer(store: Store, wall: Callable[[], float] = time.time) -> tuple[str, float] | None:
    """Return who writes a run's output now, and the seconds since it was last heard of; None if nobody does.

    A holder that is released, dead or silent for longer than `STALE_SECONDS` writes no more, as far as is known here;
    nor does one whose heartbeat is as far in the future, when a clock was set back: it may never catch up with it.
    """
    folder = store.child(FOLDER)
    newest = max(tokens_in(folder), default=0)
    holder = parsed(read_lease(folder, newest)) if newest else None
    if holder is None or holder.released or holder.died_here():
        return None
    silent = wall() - holder.heartbeat
    return (str(holder), max(0.0, silent)) if abs(silent) <= STALE_SECONDS else None
