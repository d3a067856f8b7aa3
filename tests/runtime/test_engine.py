import gc
import operator
import weakref

import pytest

from filtering.config.run import Ray, parse_config
from filtering.core.errors import InputError, RunError
from filtering.runtime.engine import RayExecutor
from filtering.runtime.executor import run_tasks
from filtering.runtime.in_process import InProcessExecutor
from filtering.runtime.task_spec import TaskWorkers, task
from filtering.runtime.worker import release_memory
from filtering.storage.store import Store


@pytest.fixture
def ray_executor(cluster):
    return RayExecutor(Ray())


@pytest.fixture(params=["in process", pytest.param("ray", marks=pytest.mark.ray)])
def executor(request):
    return InProcessExecutor() if request.param == "in process" else request.getfixturevalue("ray_executor")


class Watcher:
    """Remembers what it is told."""

    def __init__(self):
        self.done, self.again = [], []

    def resumed(self, records):
        self.before = list(records)

    def finished(self, task, record):
        self.done.append(task)

    def waiting(self, what=""):
        pass

    def retried(self, task, cause):
        self.again.append((task.name, cause))


def run(executor, store, tasks):
    watcher = Watcher()
    records = run_tasks(executor, "stage", store, tasks, watcher)
    return [record["result"] for record in records], watcher.done


def test_results_come_in_the_order_of_the_tasks_with_their_cost(executor, tmp_path):
    store = Store(str(tmp_path))
    tasks = [task(f"task-{number}", dict, {"twice": 2 * number}) for number in range(5)]
    results, finished = run(executor, store, tasks)
    assert results == [{"twice": 2 * number} for number in range(5)]
    assert sorted(task.name for task in finished) == [task.name for task in tasks]
    record = store.read_json("task-3.done")
    assert record["peak_memory_bytes"] > 0
    assert record["seconds"] >= 0


def test_what_needs_the_most_memory_begins_first(tmp_path):
    tasks = [
        task(f"t{number}", dict, {"n": number}).reserving(memory) for number, memory in enumerate((0, 10, 0, 30, 20))
    ]
    watcher = Watcher()
    records = run_tasks(InProcessExecutor(), "stage", Store(str(tmp_path)), tasks, watcher)
    assert [one.name for one in watcher.done] == ["t3", "t4", "t1", "t0", "t2"]
    assert [record["result"]["n"] for record in records] == [0, 1, 2, 3, 4]


def test_a_task_with_a_marker_is_not_run_again(executor, tmp_path):
    store = Store(str(tmp_path))
    tasks = [task("a", dict, {"twice": 2}), task("b", dict, {"twice": 4})]
    run(executor, store, tasks[:1])
    results, finished = run(executor, store, tasks)
    assert results == [{"twice": 2}, {"twice": 4}]
    assert [task.name for task in finished] == ["b"]


def test_an_error_for_people_passes_through_and_leaves_no_marker(executor, tmp_path):
    with pytest.raises(InputError, match="output: is missing"):
        run(executor, Store(str(tmp_path)), [task("a", parse_config, {"input": {"shards": "x"}})])
    assert Store(str(tmp_path)).names(".done") == []


@pytest.mark.parametrize(
    ("function", "arguments", "message"),
    [
        (operator.truediv, (1, 0), "ZeroDivisionError: division by zero"),
        (exec, (r"raise OSError('first\nsecond')",), "OSError: first"),
        (exec, ("raise LookupError",), "LookupError: LookupError"),
    ],
)
def test_any_other_error_names_the_task_in_one_line(executor, tmp_path, function, arguments, message):
    with pytest.raises(RunError) as failed:
        run(executor, Store(str(tmp_path)), [task("a", function, *arguments)])
    assert str(failed.value) == f"task a: {message}"


def test_what_no_node_can_hold_is_refused_rather_than_waited_for(ray_executor, tmp_path):
    with pytest.raises(RunError, match=r"task a: needs 1000000.00 GB, but no node offers more than"):
        run(ray_executor, Store(str(tmp_path)), [task("a", dict).reserving(10**15)])


@pytest.mark.parametrize(
    ("address", "message"),
    [("127.0.0.1:1", "no cluster answers at 127.0.0.1:1"), ("nonsense", "no cluster"), ("ray://host:10001", "ray job")],
)
def test_a_cluster_that_is_not_there_is_refused_at_once(address, message, monkeypatch):
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    with pytest.raises(InputError, match=message):
        RayExecutor(Ray(address=address)).start()


def test_a_share_of_a_gpu_is_refused_where_there_is_none(executor, tmp_path):
    with pytest.raises(InputError, match=r"ray\.gpus_per_search: (the cluster|this machine) has no GPU"):
        run_tasks(executor, "stage", Store(str(tmp_path)), [task("a", dict)], Watcher(), workers=TaskWorkers(0.5))


def test_what_earlier_tasks_left_is_looked_through_once():
    release_memory()
    frozen = gc.get_freeze_count()
    assert frozen > 0
    assert gc.get_count()[2] == 0
    kept = [{} for _ in range(1_000)]
    for value in kept:
        value["itself"] = value
    weak = weakref.ref(Cyclic())
    release_memory()
    # Garbage goes, what is alive stays and is not looked at again.
    assert weak() is None
    assert gc.get_freeze_count() >= frozen + 1_000


class Cyclic:
    def __init__(self):
        self.itself = self
