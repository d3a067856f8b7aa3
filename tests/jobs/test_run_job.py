"""The job that `ray job submit` runs, as a process of its own."""

import json
import subprocess
import sys
from pathlib import Path

from pools import metadata_config
from processes import write_config

from filtering.manifests.verify import problems
from filtering.storage.store import Store

ROOT = Path(__file__).parents[2]


def test_the_job_runs_a_configuration(metadata_pool, tmp_path):
    config = write_config(tmp_path / "run.yaml", metadata_config(metadata_pool, tmp_path / "run"))
    line = [sys.executable, "jobs/run.py", "--config", config, "--set", "selection.keep=0.2"]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"manifest  {tmp_path}/run/manifest" in done.stdout
    assert json.loads((tmp_path / "run/run.json").read_text())["totals"]["kept"] == 220
    assert list(problems(Store(str(tmp_path / "run")))) == []
