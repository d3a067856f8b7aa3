import re
import tomllib
from pathlib import Path

import ray
import yaml

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
FILES = [ROOT / name for name in ("cluster.yaml", "docker/Dockerfile", "jobs/kuberay/rayjob.yaml")]


def _pinned_ray():
    (pin,) = (
        line.partition("==")[2] for line in PROJECT["tool"]["uv"]["constraint-dependencies"] if line.startswith("ray==")
    )
    return pin


def test_the_pinned_ray_is_the_one_tested():
    assert _pinned_ray() == ray.__version__


def test_every_image_is_of_this_release_and_its_ray():
    tags = {f"filtering:{PROJECT['project']['version']}-ray{_pinned_ray()}-{target}" for target in ("cpu", "gpu")}
    assert {path.name: set(re.findall(r"filtering:[0-9][\w.-]*", path.read_text())) for path in FILES} == {
        path.name: tags for path in FILES
    }


def test_kuberay_is_told_the_same_ray():
    _, job = yaml.safe_load_all((ROOT / "jobs/kuberay/rayjob.yaml").read_text())
    assert job["spec"]["rayClusterSpec"]["rayVersion"] == _pinned_ray()
