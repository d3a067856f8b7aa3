import gc
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import ray
from clusters import until
from test_engine import Watcher

import filtering
from filtering.config.run import Ray
from filtering.core.errors import RunError
from filtering.runtime.engine import RayExecutor
from filtering.runtime.executor import RETRIES, run_tasks
from filtering.runtime.in_process import InProcessExecutor
from filtering.runtime.task_spec import ActorPlan, Actors, WorkerShape, task
from filtering.runtime.worker import VERSION, Attempt, run_attempt
from filtering.runtime.worker_pools import TaskPool
from filtering.storage.store import Store


@pytest.fixture
def executor(cluster):
    return RayExecutor(Ray())


def once(path):
    """Kill the process that runs this, the first time."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return {"survived": True}
    os.kill(os.getpid(), signal.SIGKILL)
    return {}


def actors(function, shape):
    # Workers cannot import the tests: what they run is built from source there.
    return Actors(lambda capacity: ActorPlan(shape, lambda: function))


@pytest.mark.parametrize("kind", ["tasks", "actors"])
def test_a_killed_worker_s_task_is_run_again_and_told(executor, tmp_path, kind):
    watcher = Watcher()
    function = _by_value(once)
    workers = actors(function, WorkerShape(2, 1, 0)) if kind == "actors" else None
    new = workers.task if workers else lambda name, flag: task(name, function, flag)
    tasks = [new(f"t{at}", str(tmp_path / f"flag{at}")) for at in range(2)]
    records = run_tasks(executor, "stage", Store(str(tmp_path / "out")), tasks, watcher, workers=workers)
    assert [record["result"] for record in records] == [{"survived": True}] * 2
    assert {name for name, _ in watcher.again} == {"t0", "t1"}


def test_a_task_that_always_kills_its_worker_ends_the_run_with_its_name(executor, tmp_path):
    def fatal():
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(RunError, match=f"task poison: failed {RETRIES + 1} times"):
        run_tasks(executor, "stage", Store(str(tmp_path)), [task("poison", _by_value(fatal))], Watcher())


@pytest.mark.parametrize("where", ["in process", pytest.param("ray", marks=pytest.mark.ray)])
def test_a_broken_connection_is_tried_again(request, tmp_path, where):
    executor = InProcessExecutor() if where == "in process" else request.getfixturevalue("executor")

    def broken_once(path):
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return {}
        raise ConnectionResetError("reset by peer")

    watcher = Watcher()
    tasks = [task("t", _by_value(broken_once), str(tmp_path / "flag"))]
    run_tasks(executor, "stage", Store(str(tmp_path / "out")), tasks, watcher)
    assert [name for name, _ in watcher.again] == ["t"]


def test_work_goes_to_the_actors_that_are_up(executor, tmp_path):
    # Two CPUs: of four actors two can ever be up, and the work does not wait for the others.
    workers = actors(dict, WorkerShape(4, 1, 0))
    tasks = [workers.task(f"t{at}", {"at": at}) for at in range(6)]
    started = time.monotonic()
    records = run_tasks(executor, "stage", Store(str(tmp_path)), tasks, Watcher(), workers=workers)
    assert [record["result"]["at"] for record in records] == list(range(6))
    assert time.monotonic() - started < 60


def test_what_no_machine_of_the_cluster_has_is_waited_for(executor):
    executor.start()
    pool = TaskPool(lambda: 1)
    assert pool.waits_for() == "waiting for workers: none is free and up yet"
    ready, _ = ray.wait(pool.starting(), timeout=60)
    pool.joined(ready[0])
    assert pool.waits_for() == ""
    assert TaskPool(lambda: 1, gpus=0.5).waits_for() == "waiting for workers: the cluster has no GPU now"


def test_what_actors_wait_for_is_told(executor, tmp_path):
    class Listener(Watcher):
        waits = ()

        def waiting(self, what=""):
            self.waits += (what,) if what not in self.waits else ()

    def build():
        import time

        time.sleep(0.5)
        return dict

    plan = ActorPlan(WorkerShape(2, 1, 0), _by_value(build), "ViT-B-32")
    workers, listener = Actors(lambda capacity: plan), Listener()
    run_tasks(executor, "stage", Store(str(tmp_path)), [workers.task("t", {"at": 0})], listener, workers=workers)
    assert listener.waits == ("waiting for workers: 0 of 2", "loading ViT-B-32")


def test_an_actor_that_starts_again_is_said_to_load_again(executor, tmp_path):
    class Listener(Watcher):
        waits = ()

        def waiting(self, what=""):
            self.waits += (what,) if what and what != (*self.waits, "")[-1] else ()

        def retried(self, task, cause):
            self.waits += (task.name,)

    kills = _by_value(once)

    def build():
        import time

        time.sleep(0.5)
        return kills

    plan, listener = ActorPlan(WorkerShape(1, 1, 0), _by_value(build), "ViT-B-32"), Listener()
    workers = Actors(lambda capacity: plan)
    run_tasks(
        executor, "stage", Store(str(tmp_path)), [workers.task("t", str(tmp_path / "flag"))], listener, workers=workers
    )
    assert listener.waits[listener.waits.index("t") :] == ("t", "waiting for workers: 0 of 1", "loading ViT-B-32")


def test_an_actor_that_was_lost_holds_no_cpu_after_its_stage(executor, tmp_path):
    workers, store = actors(_by_value(once), WorkerShape(2, 1, 0)), Store(str(tmp_path / "out"))
    gc.disable()
    try:
        run_tasks(executor, "stage", store, [workers.task("t", str(tmp_path / "flag"))], Watcher(), workers=workers)
        until(lambda: ray.available_resources().get("CPU") == ray.cluster_resources()["CPU"], "all CPUs are free", 60)
    finally:
        gc.enable()


def test_a_worker_with_another_version_refuses_in_one_line(tmp_path):
    attempt = Attempt("stage", task("t", dict), Store(str(tmp_path)), None, "0.0.1")
    with pytest.raises(RunError, match=r"the job is 0\.0\.1; give all nodes the same image"):
        run_attempt(attempt)


@pytest.mark.slow
def test_edited_code_is_another_version(tmp_path):
    def version():
        says = [sys.executable, "-c", "from filtering.runtime.worker import VERSION; print(VERSION)"]
        return subprocess.run(says, cwd=tmp_path, capture_output=True, text=True, check=True).stdout.strip()

    shutil.copytree(Path(filtering.__file__).parent, tmp_path / "filtering", ignore=lambda *_: ["__pycache__"])
    assert version() == VERSION
    with (tmp_path / "filtering/scores/right.py").open("a") as file:
        file.write("# Edited.\n")
    assert version() != VERSION


def test_a_worker_of_a_run_that_lost_its_lease_commits_nothing(tmp_path):
    class Lost:
        def check(self):
            raise RunError("the lease was taken over")

    with pytest.raises(RunError, match="taken over"):
        run_attempt(Attempt("stage", task("t", dict), Store(str(tmp_path)), Lost()))
    assert Store(str(tmp_path)).names() == []


def _by_value(function):
    """Make Ray send a function itself rather than its name, which the workers could not import."""
    function.__module__ = "__main__"
    return function
