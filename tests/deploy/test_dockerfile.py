import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from docker.utils.build import exclude_paths
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "docker/Dockerfile"
IGNORE = ROOT / "docker/Dockerfile.dockerignore"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def _stages():
    """Return each stage's parent and its instructions, continuation lines joined, by the stage's name."""
    stages, name = {}, ""
    code = "\n".join(line for line in DOCKERFILE.read_text().splitlines() if not line.lstrip().startswith("#"))
    for line in code.replace("\\\n", " ").splitlines():
        if opened := re.fullmatch(r"FROM (\S+) AS (\S+)", line):
            name = opened[2]
            stages[name] = (opened[1], [])
        elif line.strip() and name:
            stages[name][1].append(" ".join(line.split()))
    return stages


STAGES = _stages()
TARGETS = ("cpu", "gpu")


def _lineage(stage):
    """Return a stage and what it is built on, the base first."""
    before = _lineage(STAGES[stage][0]) if STAGES[stage][0] in STAGES else []
    return [*before, stage]


def _copied(stages):
    copies = [line.split()[1:-1] for stage in stages for line in STAGES[stage][1] if line.startswith("COPY ")]
    return [source for sources in copies for source in sources]


def test_the_linter_has_nothing_to_say():
    linted = subprocess.run(
        [Path(sys.executable).with_name("hadolint"), DOCKERFILE], capture_output=True, text=True, check=False
    )
    assert (linted.stdout, linted.returncode) == ("", 0)


def test_the_context_is_what_is_copied_and_nothing_else():
    patterns = [line for line in IGNORE.read_text().splitlines() if line and not line.startswith("#")]
    sent = {path for path in exclude_paths(str(ROOT), patterns) if (ROOT / path).is_file()}
    copied = set(_copied(STAGES))
    assert {source for source in copied if not (ROOT / source).exists()} == set()
    assert {Path(path).parts[0] for path in sent} == copied
    assert not any("__pycache__" in path for path in sent)
    assert {"jobs/run.py", "filtering/embedding/demo_clip/weights.safetensors"} <= sent


@pytest.mark.parametrize("target", TARGETS)
def test_a_change_of_the_source_installs_no_dependency_again(target):
    *installed_first, last = _lineage(target)
    assert _copied(installed_first) == ["pyproject.toml"]
    assert any("--requirements pyproject.toml" in line for line in STAGES[installed_first[-1]][1])
    assert all("--no-deps" in line for line in STAGES[last][1] if "pip install" in line)


def test_versions_are_written_in_pyproject_alone():
    pins = {
        canonicalize_name(pin.name): str(pin.specifier)
        for pin in map(Requirement, PROJECT["tool"]["uv"]["constraint-dependencies"])
        if str(pin.specifier).startswith("==")
    }
    needed = {canonicalize_name(Requirement(line).name) for line in PROJECT["project"]["dependencies"]}
    assert needed - pins.keys() == set()
    assert re.findall(r"\w+==\S+", DOCKERFILE.read_text()) == ['uv==${UV_VERSION}"']


@pytest.mark.parametrize("target", TARGETS)
def test_containers_do_not_run_as_root_and_start_what_they_are_told_to(target):
    lines = [line for stage in _lineage(target) for line in STAGES[stage][1]]
    assert [line for line in lines if line.startswith("USER")] == ["USER 1000:1000"]
    assert not any(line.startswith("ENTRYPOINT") for line in lines)
    assert any("HOME=/home/filtering " in line for line in lines if line.startswith("ENV"))


def test_only_the_gpu_image_asks_for_the_driver():
    asking = {target for target in TARGETS if any("NVIDIA_VISIBLE_DEVICES" in line for line in STAGES[target][1])}
    assert asking == {"gpu"}


def test_no_registry_or_index_is_named():
    written = DOCKERFILE.read_text() + IGNORE.read_text()
    assert "://" not in written
    assert {parent for parent, _ in STAGES.values() if parent not in STAGES} == {
        "python:${PYTHON_VERSION}-slim-bookworm"
    }
