"""Runs with one fault each, against a calm run over the same pool and cluster."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.support.clusters import Cluster, Process, current_stage, events, last_stage, resume
from tests.support.faulty_proxy import FaultyProxy

KILLS = ("worker", "actor", "node", "objects", "driver")
EMBEDDING_ONLY = ("actor", "objects")
STORAGE = {"s3-errors": {"error_rate": 0.1}, "s3-cuts": {"cut_rate": 0.1}}
RUN_SECONDS = 600
MODEL_LIBRARY = "libtorch"


@dataclass(frozen=True, slots=True)
class Cell:
    """The outcome of the run with one fault.

    Attributes
    ----------
    outcome : same, other (another manifest hash), failed, missed (nothing could be killed in any try) or none (the
        stage has no such process).
    seconds : of the run, including a second driver.
    lost : seconds beyond those of the calm run.
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
    """A pool, a cluster, and the calm run over them."""

    cluster: Cluster
    folder: Path
    pool: str
    output: Callable[[str], str]
    calm_hash: str = ""
    tasks: dict[str, int] = field(default_factory=dict)
    calm_seconds: float = 0.0
    runs: int = 0
    nodes: int = 0

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
            # Each run embeds the pool itself, although others lie beside it.
            "reuse_embeddings": False,
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

    def calm(self, runs: int) -> None:
        """Run without a fault, measure the last time, and count the tasks of each stage."""
        self.nodes = len(self.cluster.nodes)
        for _ in range(runs):
            _, command = self.fresh()
            started = time.monotonic()
            with self.driver(command) as driver:
                record = self.record(driver)
            self.calm_seconds = time.monotonic() - started
        self.calm_hash = record["manifest_hash"]
        self.tasks = {stage["name"]: stage["tasks"] for stage in record["stages"]}
        print(f"calm run: {self.calm_seconds:.1f} s, tasks {dict(self.tasks)}", file=sys.stderr)

    def cell(self, fault: str, stage: str, tries: int) -> Cell:
        """Run with the fault, again if nothing could be killed, and return the outcome."""
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
                # New nodes in place of the killed ones.
                self.cluster.add_nodes(self.nodes - len(self.cluster.nodes))
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
            # A stage without tasks is over in a millisecond: at least the next one has not begun.
            now = current_stage if self.tasks[stage] else last_stage

            def here() -> bool:
                return driver.poll() is None and now(output) == stage

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
            # It may finish its task while the next driver already gives the same task to another worker.
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
