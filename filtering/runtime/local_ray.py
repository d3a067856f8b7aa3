"""A Ray of this machine alone, whose processes can be watched, ended and started again.

`ray.init` starts Ray inside the driver: on a busy machine its raylet aborts when an agent does not name its port within
15 s, which no setting changes, and the driver waits for minutes for a raylet that is dead. Here `ray start` runs in a
process of its own. The agents' ports are chosen here, and the raylet need not wait for them; what is dead is noticed at
once; and Ray's token is in the processes' environment rather than in ~/.ray/auth_token, where it would make Ray's own
commands ask for it later.
"""

import contextlib
import logging
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import ray

from filtering.core.errors import RunError, first_line
from filtering.core.formatting import duration, size
from filtering.runtime.ports import free_ports

HEAD = Path(__file__).with_name("ray_head.py")
# How long each try to start it may take, in seconds. On an idle machine it takes less than ten.
PATIENCE = (90.0, 180.0, 360.0)
END_SECONDS = 5.0
# What passes between tasks: decoded batches and small results; all else travels through storage.
OBJECT_STORE_BYTES = 1 << 30
ROOM_BYTES = 500_000_000
# The ports of the agents: the option that says one, and the file of the session in which the raylet looks for it.
PORTS = {
    "--dashboard-agent-grpc-port": "metrics_agent_port",
    "--dashboard-agent-listen-port": "dashboard_agent_listen_port",
    "--metrics-export-port": "metrics_export_port",
    "--runtime-env-agent-port": "runtime_env_agent_port",
}
# The first file of that kind, from which the node's id is known; the raylet starts later.
GCS_PORT = "gcs_server_port"
# What a machine alone has no use for, each a process more to start.
WITHOUT = ("--include-dashboard=false", "--include-log-monitor=false", "--no-monitor", "--disable-usage-stats")
# Ray's own limits are those of an idle machine.
LIMITS = {
    "RAY_agent_register_timeout_ms": "600000",
    "RAY_gcs_server_port_wait_time_s": "300",
    "RAY_raylet_start_wait_time_s": "300",
    "RAY_worker_register_timeout_seconds": "600",
}
# Its workers' output stays in its log files, which the driver need not read.
CONNECTION: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
MODE, TOKEN = "RAY_AUTH_MODE", "RAY_AUTH_TOKEN"
# A line of Ray's logs that says why a process ended itself: its level is C (a check that failed) or F.
FATAL = re.compile(r"^\[[^\]]* [CF] \d+ \d+\] (?:\(\w+\) )?(.*)$", re.MULTILINE)
ADVERTISED = re.compile(r"An unexpected system state has occurred.*?we'll work with you to fix it\.\s*")


class LocalRay:
    """A Ray of this machine with `cpus` CPUs (None: all), and this process as its driver, from `start` until `stop`."""

    def __init__(self, cpus: int | None = None, **environment: str) -> None:
        self.cpus = cpus
        self.environment = environment
        self.head: _Head | None = None
        self.before: dict[str, str | None] = {}

    def start(self, waiting: Callable[[str], None] = lambda what: None) -> None:
        """Start it and connect to it; RunError, which names the log that says why, if it does not start.

        `waiting` receives, every moment, what is waited for.
        """
        reason = ""
        self._authenticate()
        try:
            for number, patience in enumerate(PATIENCE, 1):
                told = "starting Ray" if number == 1 else f"starting Ray, try {number} of {len(PATIENCE)}"
                self.head = _Head(self.cpus, self.environment)
                try:
                    self.head.connect(patience, partial(waiting, told))
                    return
                except _NotStarted as error:
                    reason = f"{error}; {_advice(self.head.folder)}"
                    self.head.kill()
            raise RunError(f"Ray does not start (tried {len(PATIENCE)} times): {reason}")
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Leave it and end its processes."""
        ray.shutdown()
        if self.head is not None:
            self.head.end()
            self.head = None
        for name, value in self.before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        self.before = {}
        _read_authentication()

    def _authenticate(self) -> None:
        """Give this process, which will be its driver, the token that it asks for: others here could connect, too."""
        self.before = {name: os.environ.get(name) for name in (MODE, TOKEN)}
        if (self.before[MODE] or "token").lower() == "token":
            self.environment |= {MODE: "token", TOKEN: secrets.token_hex(32)}
            os.environ.update({name: self.environment[name] for name in self.before})
        _read_authentication()


class _NotStarted(Exception):
    """Why a head did not start, in words."""


class _Head:
    """One try: a process of `ray_head`, the leader of a session that holds whatever it starts."""

    def __init__(self, cpus: int | None, environment: dict[str, str]) -> None:
        self.folder = _new_folder()
        self.ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
        self.output = self.folder / "ray_start.log"
        inherited = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
        options = [f"--temp-dir={self.folder}", "--port=0", f"--object-store-memory={OBJECT_STORE_BYTES}", *WITHOUT]
        options += [f"{option}={port}" for option, port in self.ports.items()]
        options += [] if cpus is None else [f"--num-cpus={cpus}"]
        with self.output.open("wb") as output:
            # Isolated from this package's folder, whose modules have names that others use. In a session of its own,
            # so that what a terminal sends its processes reaches the driver alone.
            self.process = subprocess.Popen(
                [sys.executable, "-P", str(HEAD), *options],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                env={**LIMITS, **inherited, **environment},
                start_new_session=True,
            )

    def connect(self, patience: float, waiting: Callable[[], None]) -> None:
        """Wait until it is up and connect to it; _NotStarted if it ends, or is not up in time."""
        address = self._address(patience, waiting)
        try:
            ray.init(address=address, **CONNECTION)
        except Exception as error:
            ray.shutdown()
            raise _NotStarted(f"{first_line(error)}, and {self._reason()}") from error

    def _address(self, patience: float, waiting: Callable[[], None]) -> str:
        # Written, at once, when the raylet has registered.
        address = self.folder / "ray_current_cluster"
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            self._name_ports()
            if self.process.poll() is not None:
                raise _NotStarted(self._reason())
            # First: connecting to a raylet that has registered and died since takes Ray a minute.
            if ended := self._ended():
                raise _NotStarted(f"its {ended} ended, and {self._reason()}")
            with contextlib.suppress(FileNotFoundError):
                if found := address.read_text().strip():
                    return found
            waiting()
            time.sleep(0.1)
        raise _NotStarted(f"not within {duration(patience)}, and {self._reason()}")

    def _name_ports(self) -> None:
        """Tell the raylet the ports of its agents, as they would themselves once they have started."""
        for known in self.folder.glob(f"session_2*/{GCS_PORT}_*"):
            for option, name in PORTS.items():
                file = known.with_name(known.name.replace(GCS_PORT, name))
                if not file.exists():
                    draft = file.with_suffix(".new")
                    draft.write_text(str(self.ports[option]))
                    draft.replace(file)

    def end(self) -> None:
        """Let it end what it has started."""
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(END_SECONDS)
        self.kill()

    def kill(self) -> None:
        """End it and whatever it has started at once."""
        self.process.kill()
        self.process.wait()
        with contextlib.suppress(OSError):
            self.process.stdin.close()  # type: ignore[union-attr]
        for pid, session, _ in _processes():
            if session == self.process.pid:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def _ended(self) -> str | None:
        """Return the process on which all else depends and that has ended; `ray start` looks only once it is up."""
        states = [state for _, session, state in _processes() if session == self.process.pid]
        return next((name for name in ("raylet", "gcs_server") if ("Z", name) in states), None)

    def _reason(self) -> str:
        """Return the log that says most, and what it says."""
        logs = [*self.folder.glob("session_2*/logs/raylet.err"), *self.folder.glob("session_2*/logs/gcs_server.err")]
        for log in logs:
            if found := FATAL.search(log.read_text(errors="replace")):
                return f"{log} says: {' '.join(ADVERTISED.sub('', found[1]).split())[:300]}"
        lines = [line.strip() for line in self.output.read_text(errors="replace").splitlines() if line.strip()]
        return f"{self.output} says: {lines[-1][:300]}" if lines else f"{self.output} says nothing"


def _new_folder() -> Path:
    """Return a new folder for Ray's files: in a shared one, Ray's `auto` would take this cluster for everybody's."""
    root = Path(os.environ.get("RAY_TMPDIR") or "/tmp", "ray")
    try:
        root.mkdir(parents=True, exist_ok=True)
        # The path of a socket in it may have 107 characters.
        return Path(tempfile.mkdtemp(prefix="", dir=root))
    except OSError as error:
        raise RunError(
            f"Ray does not start: {root} cannot be written ({error.strerror}); let RAY_TMPDIR name another folder"
        ) from error


def _processes() -> Iterator[tuple[int, int, tuple[str, str]]]:
    """Yield each process's number, its session, and its state and name; none where there is no /proc."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError):
            head, _, rest = stat.read_text().rpartition(")")
            pid, _, name = head.partition(" (")
            fields = rest.split()
            yield int(pid), int(fields[3]), (fields[0], name)


def _read_authentication() -> None:
    """Let Ray read mode and token again: it remembers what it found in the environment first."""
    # Releases before 2.52 know no token.
    if loader := getattr(ray._raylet, "AuthenticationTokenLoader", None):
        ray._raylet.Config.initialize("")
        loader.instance().reset_cache()


def _advice(folder: Path) -> str:
    """Return what to do, by what there is to be seen."""
    free = shutil.disk_usage(folder).free
    if free < ROOM_BYTES:
        return f"{folder} has only {size(free)} free: make room, or let RAY_TMPDIR name another folder"
    load, cpus = os.getloadavg()[0], os.cpu_count() or 1
    if load > cpus:
        return f"the load of this machine is {load:.0f} on {cpus} CPUs: try again when it is less busy"
    return "that log and those beside it say more"
