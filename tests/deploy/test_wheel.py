"""What a wheel holds: all that a clone has for those who use the package."""

import os
import shutil
import subprocess
import sys
import zipfile
from email import message_from_string
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = ("pyproject.toml", "setup.py", "README.md", "LICENSE", "NOTICE")
CACHES = shutil.ignore_patterns("__pycache__", "*.egg-info")
BUILD = "from setuptools.build_meta import build_wheel; print(build_wheel('dist'))"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel of this tree, built from a copy of what the image builds it from."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in SOURCES:
        shutil.copy(ROOT / name, folder)
    for name in ("filtering", "jobs"):
        shutil.copytree(ROOT / name, folder / name, ignore=CACHES)
    done = subprocess.run([sys.executable, "-c", BUILD], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(folder / "dist" / done.stdout.split()[-1]) as archive:
        yield archive


def test_all_that_the_package_and_its_jobs_consist_of_is_in_the_wheel(wheel):
    names, there = set(wheel.namelist()), list[str]()
    for folder, prefix in (("filtering", "filtering"), ("jobs", "filtering/jobs")):
        paths = (path for path in (ROOT / folder).rglob("*") if path.is_file() and "__pycache__" not in path.parts)
        there += [f"{prefix}/{path.relative_to(ROOT / folder).as_posix()}" for path in paths]
    assert sorted(set(there) - names) == []
    assert sorted(name for name in names - set(there) if ".dist-info/" not in name) == []


def test_it_says_what_it_is(wheel):
    (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    metadata = message_from_string(wheel.read(name).decode())
    assert metadata.get_all("License-File") == ["LICENSE", "NOTICE"]
    versions = {word.rpartition(" ")[2] for word in metadata.get_all("Classifier") if "Python :: 3" in word}
    assert versions == {"3.11", "3.12", "3.13"}
    assert "filtering = filtering.cli:command" in wheel.read(name.replace("METADATA", "entry_points.txt")).decode()


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """Run a line of words with the Python that has the wheel installed before this clone, in a folder of its own."""
    site, folder = tmp_path_factory.mktemp("site"), tmp_path_factory.mktemp("project")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(site)]
    subprocess.run([*pip, wheel.filename], check=True)
    environment = os.environ | {"PYTHONPATH": str(site)}

    def run(*words):
        return subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)

    run.site, run.folder = site, folder
    return run


@pytest.mark.slow
def test_an_installed_wheel_filters_a_pool(installed, tar_pool):
    where = installed(sys.executable, "-c", "import filtering; print(filtering.__file__)")
    assert where.stdout.startswith(str(installed.site))
    filtering = (sys.executable, str(installed.site / "bin/filtering"))
    assert "filtering COMMAND --help" in installed(*filtering, "--help").stdout
    assert installed(sys.executable, "-m", "filtering.jobs.run", "--help").stdout.startswith("usage: filtering run")
    assert installed(*filtering, "init", "local").returncode == 0
    shutil.copytree(tar_pool, installed.folder / "pool")
    job = (sys.executable, "-m", "filtering.jobs.run", "--config", "run.yaml", "--set", "ray.address=none")
    done = installed(*job)
    assert done.returncode == 0, done.stderr
    assert (installed.folder / "runs/first/report/index.html").is_file()
    assert installed(*filtering, "verify", "runs/first").returncode == 0


def test_the_jobs_run_from_an_installed_package(tmp_path):
    for module in ("run", "nightly"):
        line = [sys.executable, "-m", f"filtering.jobs.{module}", "--help"]
        done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.stdout.startswith("usage: filtering run"), done.stderr
