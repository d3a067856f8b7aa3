"""Runs over pool-like metadata: their configuration, and the command line with the memory that it took."""

import atexit
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

from benchmarks.lib.pool_like import write_pool
from benchmarks.lib.processes import watched
from filtering.config.run import Ray
from filtering.runtime.executor import executor_for

LARGEST_SHARD = 500_000
# Below, starting a process takes longer than writing the pool.
ONE_WORKER_ROWS = 50_000


def write_config(folder: Path, rows: int, address: str, dimension: int = 512) -> tuple[Path, Path]:
    """Write the configuration of a run by the default over a pool of `rows` rows, and the pool unless it is there.

    `dimension` is that of its vectors.

    Returns
    -------
    config, output : Path
    """
    name = f"{rows}" if dimension == 512 else f"{rows}-{dimension}"
    pool, out, config = folder / f"pool-{name}", folder / f"run-{name}", folder / f"run-{name}.yaml"
    if not pool.exists():
        shard_rows = min(LARGEST_SHARD, max(rows // 2, 1))
        write_pool(str(pool), rows, dimension, shard_rows=shard_rows, workers=1 if rows < ONE_WORKER_ROWS else 2)
    source = {"metadata": str(pool), "arrays": {"image": "img", "text": "txt"}}
    settings = {"input": source, "selection": {"keep": 0.3}, "output": str(out), "ray": {"address": address}}
    config.write_text(json.dumps(settings))
    return config, out


def filtering(*arguments: str) -> tuple[dict[str, Any], int]:
    """Return the JSON that a command prints, and the peak memory of its process and all descendants, in bytes."""
    command = [sys.executable, "-m", "filtering", *arguments, "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    with watched(process) as peak:
        printed, _ = process.communicate()
    if process.returncode:
        sys.exit(f"filtering {arguments[0]} ended with status {process.returncode}")
    return json.loads(printed), peak.bytes


def start_ray(address: str, num_cpus: int | Literal["auto"] = "auto") -> None:
    """Start or join a Ray that all runs of this process share until its end, unless there is one or none is wanted."""
    executor = executor_for(Ray(address=address, num_cpus=num_cpus))
    executor.capacity()
    atexit.register(executor.stop)
