from pathlib import Path

import pytest
from test_engine import Watcher

from filtering.config.run import Ray
from filtering.core.errors import RunError
from filtering.embedding import images
from filtering.embedding.stage import tar_embedder
from filtering.runtime.engine import RayExecutor
from filtering.runtime.executor import run_tasks
from filtering.runtime.local_ray import LocalRay
from filtering.runtime.task_spec import ActorPlan, Actors, WorkerShape, task
from filtering.storage.store import Store

pytestmark = pytest.mark.ray
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def without_pillow(tmp_path_factory):
    """A Ray whose workers' Python has no Pillow, though that of the driver has."""
    folder = tmp_path_factory.mktemp("path") / "PIL"
    folder.mkdir()
    (folder / "__init__.py").write_text("raise ModuleNotFoundError(\"No module named 'PIL'\")")
    local = LocalRay(1, PYTHONPATH=f"{folder.parent}:{ROOT}")
    local.start()
    yield RayExecutor(Ray())
    local.stop()


def embedders():
    workers = Actors(lambda capacity: ActorPlan(WorkerShape(1, 1, 0), lambda: tar_embedder(None, 0)))
    return [workers.task("t")], workers


@pytest.mark.parametrize("work", [lambda: ([task("t", images.decode_image)], None), embedders], ids=["task", "actor"])
def test_a_module_that_workers_lack_is_named_with_their_interpreter(without_pillow, work, tmp_path):
    tasks, workers = work()
    watcher = Watcher()
    with pytest.raises(RunError) as failed:
        run_tasks(without_pillow, "stage", Store(str(tmp_path)), tasks, watcher, workers=workers)
    line = str(failed.value)
    assert line.startswith("No module named 'PIL': the workers' Python, /")
    assert "(Python 3." in line
    assert " on node " in line
    assert "docker/Dockerfile" in line
    # It would fail anywhere.
    assert watcher.again == []
