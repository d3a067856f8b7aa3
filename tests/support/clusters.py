"""A real Ray cluster of several nodes on this machine: each node is a session of processes that can be killed.

Linux only: every node has a loopback address of its own, and processes are found in /proc. Nothing but this cluster's
processes is ever touched (`ray stop` would stop everybody's).
"""

import contextlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from filtering.runtime.ports import free_ports

RAY = (sys.executable, "-m", "ray.scripts.scripts")
START_SECONDS = 120
OBJECT_STORE_BYTES = 100 << 20
NEW_WORKERS_SECONDS = 0.05
STEPS = ("run_started", "stage_started", "stage_finished", "run_finished", "run_failed", "run_stopped")
# One mode for every process: where none is set, ~/.ray/auth_token decides, a file that whoever runs this may have.
SETTINGS = {
    "RAY_AUTH_MODE": "disabled",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "PYTHONUNBUFFERED": "1",
    "RAY_raylet_start_wait_time_s": "100",
}
# An idle worker, an actor that is built, asked whether it is up, or waits, and Ray's own helpers.
AT_REST = re.compile(r"ray::(IDLE.*|SPILL.*|RESTORE.*|_?[A-Z]\w*(\.(__init__|ping))?|JobSupervisor.*)$")


@dataclass(frozen=True, slots=True)
class Process:
    """A process as /proc shows it; the title of a Ray worker says what it works on."""

    pid: int
    parent: int
    group: int
    session: int
    title: str

    @property
    def works(self) -> bool:
        """Whether it is a Ray worker in the middle of a task."""
        return self.title.startswith("ray::") and not AT_REST.match(self.title)


@dataclass
class Cluster:
    """A head without CPUs and nodes that do the work; `environment` is for its drivers, too."""

    cpus: int
    environment: dict[str, str]
    dashboard: bool
    nodes: dict[int, subprocess.Popen] = field(default_factory=dict)
    started: int = 0

    def __post_init__(self) -> None:
        # Under /tmp, for a socket's path must be short; the addresses are a block nobody else here is likely to have.
        self.folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))
        draw = random.SystemRandom()
        self.block = f"127.{draw.randrange(2, 255)}.{draw.randrange(0, 255)}"
        gcs, dashboard, self.client_port = free_ports(3)
        self.address = f"{self.block}.1:{gcs}"
        self.dashboard_url = f"http://127.0.0.1:{dashboard}"

    def start_head(self) -> None:
        """Start the node that drivers connect to and that runs no task."""
        options = ["--head", "--port", self.address.split(":")[1], "--num-cpus", "0"]
        options += ["--ray-client-server-port", str(self.client_port)]
        options += ["--include-dashboard", str(self.dashboard).lower()]
        options += ["--dashboard-host", "127.0.0.1", "--dashboard-port", self.dashboard_url.split(":")[2]]
        self._await(self._start(options))

    def add_nodes(self, count: int) -> list[int]:
        """Start worker nodes, all at once, and return their numbers, which are never used again."""
        options = ["--address", self.address, "--num-cpus", str(self.cpus)]
        numbers = [self._start(options) for _ in range(count)]
        for number in numbers:
            self._await(number)
        return numbers

    def kill_node(self, number: int) -> list[Process]:
        """Kill -9 a node, its raylet and all its workers, and return what was killed."""
        node = self.nodes.pop(number)
        killed = kill_all({node.pid})
        node.wait()
        return killed

    def workers(self) -> list[tuple[int, Process]]:
        """Return the worker processes with the number of their node, whatever they do."""
        sessions = {node.pid: number for number, node in self.nodes.items() if number}
        # A worker leads a group of its own; a node's agents do not.
        found = (process for process in processes() if process.session in sessions and process.group == process.pid)
        return [(sessions[process.session], process) for process in found if process.title.startswith("ray::")]

    def catch_working(
        self, running: Callable[[], bool], wanted: Callable[[Process], bool] = lambda process: True
    ) -> tuple[int, Process] | None:
        """Return a worker stopped (SIGSTOP) in the middle of a task, and its node; None once `running` is false.

        Only a process that is stopped is sure to be still at what its title says when it is killed.
        """
        while running():
            known, looked = self.workers(), time.monotonic()
            while time.monotonic() - looked < NEW_WORKERS_SECONDS:
                for number, process in known:
                    caught = _stopped_at_work(process.pid)
                    if caught and wanted(caught) and running():
                        return number, caught
                    resume(process.pid)
                time.sleep(0.0005)
        return None

    def stop(self) -> None:
        """Kill every process of the cluster and remove its folder."""
        kill_all({node.pid for node in self.nodes.values()})
        for node in self.nodes.values():
            node.wait()
        self.nodes.clear()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _start(self, options: list[str]) -> int:
        number, self.started = self.started, self.started + 1
        command = [*RAY, "start", "--block", "--node-ip-address", f"{self.block}.{number + 1}"]
        command += ["--object-store-memory", str(OBJECT_STORE_BYTES), "--dashboard-agent-listen-port", "0"]
        # A folder of its own, as machines have: in one folder, nodes choose the same names for their sockets.
        command += ["--temp-dir", str(self.folder / str(number)), "--include-log-monitor", "false", *options]
        with (self.folder / f"{number}.log").open("wb") as log:
            # A session of its own: whatever the node starts belongs to it, also once its parent has died.
            self.nodes[number] = subprocess.Popen(
                command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=self.environment, start_new_session=True
            )
        return number

    def _await(self, number: int) -> None:
        until(lambda: self._is_up(number), f"node {number} is up")

    def _is_up(self, number: int) -> bool:
        said = (self.folder / f"{number}.log").read_text()
        assert self.nodes[number].poll() is None, f"node {number} did not start: {said} {self._logs(number)}"
        return "Ray runtime started" in said

    def _logs(self, number: int) -> str:
        logs = (self.folder / str(number)).glob("session_*/logs/*agent*.log")
        return " ".join(f"{log.name}: {log.read_text()[-2000:]}" for log in logs)


@contextlib.contextmanager
def ray_cluster(nodes: int = 2, cpus: int = 1, dashboard: bool = False, **environment: str) -> Iterator[Cluster]:
    """Start a cluster, whose processes get `environment` on top of this one's, and stop it in the end."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    cluster = Cluster(cpus, inherited | SETTINGS | environment, dashboard)
    try:
        cluster.start_head()
        cluster.add_nodes(nodes)
        yield cluster
    finally:
        cluster.stop()


def processes() -> list[Process]:
    """Return the processes of this machine, dead ones left out."""
    found = (_process(int(entry.name)) for entry in Path("/proc").iterdir() if entry.name.isdigit())
    return [process for process in found if process is not None]


def _process(pid: int) -> Process | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
        title = Path(f"/proc/{pid}/cmdline").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The second field, the name in brackets, may hold spaces and brackets.
    state, parent, group, session = stat.rsplit(")", 1)[1].split()[:4]
    alive = state not in "ZX"
    return Process(pid, int(parent), int(group), int(session), title.replace("\0", " ").strip()) if alive else None


def _stopped_at_work(pid: int) -> Process | None:
    seen = _process(pid)
    if seen is None or not seen.works:
        return None
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGSTOP)
    caught = _process(pid)
    return caught if caught and caught.works else None


def resume(pid: int) -> None:
    """Let a stopped process go on."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)


def current_stage(run: Path) -> str | None:
    """Return the stage that a run says it is in, from its events; None between stages and without a run."""
    steps = [event for event in events(run) if event["event"] in STEPS]
    return steps[-1]["stage"] if steps and steps[-1]["event"] == "stage_started" else None


def last_stage(run: Path) -> str | None:
    """Return the stage that a run began last, whether it is over or not."""
    return next((event["stage"] for event in reversed(events(run)) if event["event"] == "stage_started"), None)


def events(run: Path) -> list[dict]:
    """Return the events of a run so far, oldest first; none before it has begun."""
    try:
        return [_event(line) for line in (run / "events.jsonl").read_text().splitlines()]
    except FileNotFoundError:
        return []


def _event(line: str) -> dict:
    try:
        return json.loads(line)
    except ValueError:
        # The line that is being written, or that a kill cut off.
        return {"event": ""}


def kill_all(sessions: set[int]) -> list[Process]:
    """Kill -9 every process of the sessions and all their descendants, and return them."""
    killed: list[Process] = []
    while found := _family(sessions):
        for process in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
        killed += [process for process in found if process not in killed]
        time.sleep(0.02)
    return killed


def _family(sessions: set[int]) -> list[Process]:
    everyone = processes()
    members = {process.pid for process in everyone if process.session in sessions}
    while more := {process.pid for process in everyone if process.parent in members} - members:
        # A job's driver leads a session of its own: it belongs to the node that started it.
        members |= more
        sessions |= {process.session for process in everyone if process.pid in more and process.session == process.pid}
    return [process for process in everyone if process.pid in members]


def until(condition: Callable[[], bool], what: str, seconds: float = START_SECONDS) -> None:
    """Wait for a condition, or fail saying what never came true."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.05)
