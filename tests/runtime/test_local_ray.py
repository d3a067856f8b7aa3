import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest
import ray
from clusters import processes

from filtering.core.errors import RunError
from filtering.runtime.local_ray import LocalRay

AGENTS = ("dashboard/agent.py", "runtime_env/agent/main.py")
# Longer than Ray lets its raylet wait.
SLOW = f"""
import sys, time
if any(agent in word for agent in {AGENTS} for word in sys.orig_argv):
    time.sleep(40)
"""
# Without sys.exit, which is told with or without its class, as the interpreter was started.
REFUSING = """
import os, sys
if any('ray_head' in word for word in sys.orig_argv):
    os.write(2, b'no room for Ray here\\n')
    os._exit(1)
"""


@pytest.fixture
def at_start(tmp_path):
    """Python code that every interpreter runs that Ray starts; the environment that makes it."""

    def environment(code: str) -> dict[str, str]:
        (tmp_path / "sitecustomize.py").write_text(code)
        return {"PYTHONPATH": str(tmp_path)}

    return environment


def answer() -> int:
    return int(ray.get(ray.remote(lambda: 42).remote()))


def raylets(rays: Path) -> set[int]:
    """The raylets of this session's tests: others on this machine are none of theirs."""
    found = (one for one in processes() if Path(one.title.split(" ")[0]).name == "raylet")
    return {one.pid for one in found if f"--temp_dir={rays}/" in one.title}


@pytest.mark.ray
def test_a_machine_on_which_agents_start_slowly_starts_ray(at_start, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    before = dict(os.environ)
    local = LocalRay(1, **at_start(SLOW))
    started = time.monotonic()
    local.start()
    try:
        assert answer() == 42
        assert time.monotonic() - started < 40
    finally:
        local.stop()
    assert {name: value for name, value in os.environ.items() if "AUTH" in name} == {
        name: value for name, value in before.items() if "AUTH" in name
    }
    # Ray's own start leaves a token in the home, which its commands ask for later.
    assert not (tmp_path / "home").exists()


@pytest.mark.ray
@pytest.mark.skipif(sys.platform != "linux", reason="/proc says which processes have ended")
def test_a_raylet_that_dies_while_ray_starts_is_noticed_and_ray_is_started_again(rays):
    before, seconds, late = raylets(rays), [], []
    registered = set(rays.glob("*/ray_current_cluster"))

    def kill_the_first() -> None:
        while not (found := raylets(rays) - before):
            time.sleep(0.01)
        os.kill(min(found), signal.SIGKILL)
        killed, tries = time.monotonic(), len(list(rays.glob("*/ray_start.log")))
        late.extend(set(rays.glob("*/ray_current_cluster")) - registered)
        while len(list(rays.glob("*/ray_start.log"))) == tries:
            time.sleep(0.01)
        seconds.append(time.monotonic() - killed)

    killer = threading.Thread(target=kill_the_first, daemon=True)
    killer.start()
    local = LocalRay(1)
    local.start()
    try:
        killer.join()
        assert answer() == 42
        # Ray itself waits for half a minute for a raylet that is dead, and for a minute for one that had registered:
        # such a one is noticed at once only where the driver does not connect yet.
        assert late or seconds[0] < 15
        assert len(raylets(rays) - before) == 1
    finally:
        local.stop()
    assert raylets(rays) <= before


@pytest.mark.ray
def test_a_ray_that_does_not_start_is_tried_three_times_and_its_log_is_named(at_start, rays):
    with pytest.raises(RunError) as failed:
        LocalRay(1, **at_start(REFUSING)).start()
    line = str(failed.value)
    assert line.startswith("Ray does not start (tried 3 times): ")
    assert "ray_start.log says: no room for Ray here; " in line
    log = Path(line.partition("times): ")[2].partition(" says")[0])
    assert log.is_relative_to(rays)
    assert log.read_text().strip() == "no room for Ray here"


def test_a_folder_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    (tmp_path / "ray").write_text("")
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    with pytest.raises(RunError, match=f"{tmp_path}/ray cannot be written .*RAY_TMPDIR"):
        LocalRay(1).start()


def test_no_other_program_starts_a_ray_which_would_leave_its_token_in_the_home():
    root = Path(__file__).parents[2]
    files = [
        path
        for folder in ("filtering", "benchmarks", "jobs", "tests", "docs")
        for path in (root / folder).rglob("*.py")
    ]
    starting = {str(path.relative_to(root)) for path in files if "ray." + "init(" in path.read_text()}
    assert starting == {"filtering/runtime/engine.py", "filtering/runtime/local_ray.py"}
