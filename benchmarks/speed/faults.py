"""What a run costs when something dies: every fault in every stage, on a real cluster of two nodes.

    python -m benchmarks.speed.faults [--faults worker node] [--stages embedding graph] [--json OUT]

Kills with -9 a worker process in the middle of a task, an actor that holds the model, a node with all its processes,
the node whose object store holds decoded batches (objects; a new node comes in its place), or the driver
(whose command is then given again); and runs from S3 to S3 through a proxy that injects errors. A cell says whether the
manifest's hash is that of the calm run, and the seconds lost against it. What was killed is told on stderr.
"""

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.support.clusters import Cluster, Process, current_stage, events, last_stage, ray_cluster, resume
from tests.support.faulty_proxy import FaultyProxy
from tests.support.pools import members, write_tar
from tests.support.s3_server import s3_server

STAGES = (
    *("inventory", "embedding", "filters", "concepts", "partitions"),
    *("graph", "scores", "selection", "measures", "manifests", "report"),
)
KILLS = ("worker", "actor", "node", "objects", "driver")
EMBEDDING_ONLY = ("actor", "objects")
STORAGE = {"s3-errors": {"error_rate": 0.1}, "s3-cuts": {"cut_rate": 0.1}}
FAULTS = (*KILLS, *STORAGE)
NODES = 2
RUN_SECONDS = 600
MODEL_LIBRARY = "libtorch"


@dataclass(frozen=True, slots=True)
class Cell:
    """What became of the run with one fault.

    Attributes
    ----------
    outcome : same, other (another manifest hash), failed, missed (nothing was there to be killed, in all tries) or none
        (the stage has nothing of the kind).
    seconds : of the run, a second driver's included.
    lost : seconds more than the calm run took.
    """

    fault: str
    stage: str
    outcome: str
    detail: str
    seconds: float = 0.0
    lost: float = 0.0


class Missed(Exception):
    """The stage ended before anything could be killed in it."""


@dataclass
class Bench:
    """A pool, a cluster and the calm run over them."""

    cluster: Cluster
    folder: Path
    pool: str
    output: Callable[[str], str]
    calm_hash: str = ""
    tasks: dict[str, int] = field(default_factory=dict)
    calm_seconds: float = 0.0
    runs: int = 0

    def fresh(self, fault: str = "") -> tuple[Path, list[str]]:
        """Return a new output, a folder if it is local, and the command that fills it."""
        self.runs += 1
        # Batches that a decoder of another node hands over lie in that node's object store.
        apart = {"embedders": 1, "decoders": 1} if fault == "objects" else {}
        output = self.output(f"run-{self.runs}")
        config = {
            "input": {"shards": self.pool},
            "output": output,
            "embedding": {"model": "demo", "batch_size": 16},
            "filters": [{"clip_score": {"keep": 0.9}}],
            "concepts": {"clusters": 8, "partition_rows": 60},
            "graph": {"k": 5},
            "selection": {"keep": 0.5},
            "ray": {"address": self.cluster.address, **apart},
        }
        file = self.folder / "run.yaml"
        file.write_text(yaml.safe_dump(config))
        return Path(output), [sys.executable, "-m", "filtering", "run", "--json", "--config", str(file)]

    @contextlib.contextmanager
    def driver(self, command: Sequence[str]) -> Iterator[subprocess.Popen[str]]:
        """Start a driver; it is gone when the context ends."""
        environment, said = self.cluster.environment, (self.folder / "said").open("w")
        with said, subprocess.Popen(command, text=True, env=environment, stdout=subprocess.PIPE, stderr=said) as driver:
            try:
                yield driver
            finally:
                driver.kill()

    def record(self, driver: subprocess.Popen[str]) -> dict[str, Any]:
        """Wait for a driver and return its run.json; RuntimeError with its last line if it failed."""
        try:
            printed = driver.communicate(timeout=RUN_SECONDS)[0]
        except subprocess.TimeoutExpired:
            raise RuntimeError(f"did not end in {RUN_SECONDS} s") from None
        if driver.returncode:
            raise RuntimeError(((self.folder / "said").read_text().splitlines() or ["said nothing"])[-1])
        return dict(json.loads(printed))

    def calm(self) -> None:
        """Run twice without a fault, the second time measured, and count the tasks of each stage."""
        for _ in range(2):
            _, command = self.fresh()
            started = time.monotonic()
            with self.driver(command) as driver:
                record = self.record(driver)
            self.calm_seconds = time.monotonic() - started
        self.calm_hash = record["manifest_hash"]
        self.tasks = {stage["name"]: stage["tasks"] for stage in record["stages"]}
        print(f"calm run: {self.calm_seconds:.1f} s, tasks {dict(self.tasks)}", file=sys.stderr)

    def cell(self, fault: str, stage: str, tries: int) -> Cell:
        """Run with the fault, again if there was nothing to be killed, and say what became of it."""
        if fault != "driver" and (not self.tasks[stage] or (fault in EMBEDDING_ONLY and stage != "embedding")):
            return Cell(fault, stage, "none", f"no {fault if fault in EMBEDDING_ONLY else 'worker'} in this stage")
        for _ in range(tries):
            started, victims = time.monotonic(), list[str]()
            try:
                return self._told(fault, stage, self._hash_after(fault, stage, victims), victims, started)
            except Missed:
                print(f"{fault} in {stage}: over before anything could be killed", file=sys.stderr)
            except RuntimeError as error:
                return self._told(fault, stage, None, [*victims, str(error)], started)
            finally:
                # New nodes in place of those that were killed.
                self.cluster.add_nodes(NODES + 1 - len(self.cluster.nodes))
        return Cell(fault, stage, "missed", f"over before anything could be killed, in {tries} runs")

    def whole(self, fault: str, proxy: FaultyProxy) -> Cell:
        """Run through a proxy that injects faults."""
        proxy.set(**STORAGE[fault])
        _, command = self.fresh()
        started = time.monotonic()
        try:
            with self.driver(command) as driver:
                return self._told(
                    fault, "whole run", self.record(driver)["manifest_hash"], [str(proxy.counts())], started
                )
        except RuntimeError as error:
            return self._told(fault, "whole run", None, [str(error), str(proxy.counts())], started)

    def _told(self, fault: str, stage: str, found: str | None, details: Sequence[str], started: float) -> Cell:
        seconds = time.monotonic() - started
        lost = round(seconds - self.calm_seconds, 1)
        outcome = "failed" if found is None else "same" if found == self.calm_hash else "other"
        cell = Cell(fault, stage, outcome, "; ".join(details), round(seconds, 1), lost)
        print(f"{fault} in {stage}: {outcome}, {cell.seconds} s ({lost:+} s): {cell.detail}", file=sys.stderr)
        return cell

    def _hash_after(self, fault: str, stage: str, victims: list[str]) -> str:
        output, command = self.fresh(fault)
        with self.driver(command) as driver:
            # A stage without tasks is over in a millisecond: there, the next one has at least not begun.
            now = current_stage if self.tasks[stage] else last_stage
            here = lambda: driver.poll() is None and now(output) == stage  # noqa: E731
            # A model is in use for certain once a shard is embedded.
            _wait(driver, lambda: here() and (fault != "actor" or _has_progress(output, stage)))
            victims.append(self._killed_driver(driver, here, stage) if fault == "driver" else self._killed(fault, here))
            if fault != "driver":
                return str(self.record(driver)["manifest_hash"])
        with self.driver(command) as driver:
            return str(self.record(driver)["manifest_hash"])

    def _killed(self, fault: str, here: Callable[[], bool]) -> str:
        wanted = {"actor": _holds_model, "objects": lambda process: "." not in process.title}
        caught = self.cluster.catch_working(here, wanted.get(fault, lambda process: True))
        if caught is None:
            raise Missed
        number, process = caught
        if fault in ("node", "objects"):
            killed = f"node {number} at {process.title}, {len(self.cluster.kill_node(number))} processes"
            self.cluster.add_nodes(int(fault == "objects"))
            return killed
        os.kill(process.pid, signal.SIGKILL)
        return f"{fault} {process.title} of node {number}"

    def _killed_driver(self, driver: subprocess.Popen[str], here: Callable[[], bool], stage: str) -> str:
        caught = self.cluster.catch_working(here) if self.tasks[stage] else None
        os.kill(driver.pid, signal.SIGSTOP)
        hit = here()
        driver.kill()
        if caught:
            # It may finish what it does, while the next driver already gives the same task to another.
            resume(caught[1].pid)
        if not hit:
            raise Missed
        return "driver, " + (f"while a worker was at {caught[1].title}" if caught else "once the stage had begun")


def _wait(driver: subprocess.Popen[str], condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + RUN_SECONDS
    while not condition():
        if driver.poll() is not None:
            raise Missed
        if time.monotonic() > deadline:
            raise RuntimeError(f"did not get there in {RUN_SECONDS} s")
        time.sleep(0.0005)


def _has_progress(output: Path, stage: str) -> bool:
    return any(event.get("stage") == stage and event.get("done") for event in events(output))


def _holds_model(process: Process) -> bool:
    # A task is titled by its name, an actor by its class and method.
    return "." in process.title and MODEL_LIBRARY in Path(f"/proc/{process.pid}/maps").read_text()


def kills(faults: Sequence[str], stages: Sequence[str], tries: int, folder: Path) -> Iterator[Cell]:
    """Yield the cells of what is killed, in runs over local files."""
    with ray_cluster(NODES) as cluster:
        bench = Bench(cluster, folder, str(folder / "pool"), lambda name: str(folder / "runs" / name))
        bench.calm()
        for stage in stages:
            for fault in faults:
                yield bench.cell(fault, stage, tries)


def storage(faults: Sequence[str], folder: Path) -> Iterator[Cell]:
    """Yield the cells of storage that fails, in runs from S3 to S3."""
    with s3_server() as server, FaultyProxy(server.endpoint) as proxy:
        for path in (folder / "pool").iterdir():
            server.client().upload_file(str(path), server.bucket, f"pool/{path.name}")
        settings = {"AWS_ENDPOINT_URL": proxy.url, "AWS_DEFAULT_REGION": "us-east-1", **server.keys}
        with ray_cluster(NODES, **settings) as cluster:
            root = f"s3://{server.bucket}"
            bench = Bench(cluster, folder, f"{root}/pool/*.tar", lambda name: f"{root}/{name}")
            bench.calm()
            for fault in faults:
                yield bench.whole(fault, proxy)


def table(cells: Sequence[Cell]) -> str:
    """Return a markdown table: a row for each stage, a column for each fault."""
    faults = list(dict.fromkeys(cell.fault for cell in cells))
    stages = list(dict.fromkeys(cell.stage for cell in cells))
    found = {(cell.stage, cell.fault): cell for cell in cells}
    rows = [["stage", *faults], ["---"] * (len(faults) + 1)]
    rows += [[stage, *(_words(found.get((stage, fault))) for fault in faults)] for stage in stages]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _words(cell: Cell | None) -> str:
    if cell is None or cell.outcome == "none":
        return cell.detail if cell else ""
    if cell.outcome == "same":
        return f"same manifest, {cell.lost:+.1f} s"
    return f"**{cell.outcome}**: {cell.detail}".replace("|", "/")


def main() -> int:
    """Run the matrix, print it, and return 1 if any run came to another end than the calm one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--faults", nargs="+", choices=FAULTS, default=FAULTS, metavar="NAME", help=", ".join(FAULTS))
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=STAGES, metavar="NAME", help=", ".join(STAGES))
    parser.add_argument("--tries", type=int, default=4, help="runs for a stage that was over before it was hit")
    parser.add_argument("--shards", type=int, default=6)
    parser.add_argument("--samples", type=int, default=40, help="samples in each shard")
    parser.add_argument("--json", metavar="OUT", help="write the cells there, too")
    given = parser.parse_args()
    # A polite kill unwinds everything as well, so that no process stays behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    cells: list[Cell] = []
    folder = Path(tempfile.mkdtemp(prefix="faults-"))
    try:
        (folder / "pool").mkdir()
        for shard in range(given.shards):
            write_tar(folder / "pool" / f"{shard:08d}.tar", members(shard, given.samples))
        if killed := [fault for fault in given.faults if fault in KILLS]:
            cells += kills(killed, given.stages, given.tries, folder)
        if stored := [fault for fault in given.faults if fault in STORAGE]:
            cells += storage(stored, folder)
    finally:
        shutil.rmtree(folder)
    print(table(cells))
    if given.json:
        Path(given.json).write_text(json.dumps([asdict(cell) for cell in cells], indent=1) + "\n")
    return int(any(cell.outcome not in ("same", "none") for cell in cells))


if __name__ == "__main__":
    raise SystemExit(main())
