"""Runs a filter as `filtering run` does: one output folder for all, so that what they share is computed once."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from benchmarks.lib import runs
from benchmarks.quality.pool.filtering_model import model_paths
from benchmarks.quality.pool.filters import Filter
from filtering.config.run import parse_config
from filtering.pipeline import run as pipeline
from tests.support.pools import Silent

SELECTING, PREPARING = ("filters", "scores", "selection"), ("concepts", "partitions", "graph")


@dataclass(frozen=True, slots=True)
class Selected:
    """The pairs that a filter kept, and its cost.

    Attributes
    ----------
    seconds : of the stages in `SELECTING`, over all rows of the pool.
    graph_seconds : of those in `PREPARING`, which filters that see the same pairs share.
    peak_bytes : the most memory of a task of either.
    """

    uids: list[str]
    seconds: float
    graph_seconds: float
    peak_bytes: int


def selected(work: Path, chosen: Filter, keep: int, share: float, seed: int, address: str) -> Selected:
    """Return the pairs that a filter keeps, from an earlier run if there was one.

    Raises
    ------
    InputError
        If this version of the package has no such method.
    """
    configuration = _configuration(work, chosen.configuration(keep, share, seed))
    name = sha256(json.dumps(configuration, sort_keys=True).encode()).hexdigest()[:16]
    path = work / "selected" / f"{name}.json"
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps({"configuration": configuration, **_run(configuration, address)}))
    found = json.loads(path.read_text())
    return Selected(**{field: found[field] for field in ("uids", "seconds", "graph_seconds", "peak_bytes")})


def _configuration(work: Path, filtering: Mapping[str, Any]) -> dict[str, Any]:
    model, weights = model_paths(work)
    return {
        "input": {"shards": f"{work}/pool/*.tar"},
        "output": f"{work}/run",
        "embedding": {"model": str(model), "pretrained": str(weights)},
        # Several partitions, so that edges cross them as in a large pool.
        "concepts": {"partition_rows": 8_000},
        **filtering,
    }


def _run(configuration: dict[str, Any], address: str) -> dict[str, Any]:
    config = parse_config(configuration | {"ray": {"address": address}})
    pipeline.check(config)
    runs.start_ray(address, num_cpus=1)
    stages = pipeline.run(config, Silent())["stages"]
    chosen = [stage for stage in stages if stage["name"] in SELECTING + PREPARING]
    return {
        "uids": sorted(_kept(Path(config.output))),
        "seconds": sum(stage["seconds"] for stage in chosen if stage["name"] in SELECTING),
        "graph_seconds": sum(stage["seconds"] for stage in chosen if stage["name"] in PREPARING),
        "peak_bytes": max(stage["peak_memory_bytes"] for stage in chosen),
    }


def _kept(output: Path) -> Iterable[str]:
    for path in sorted((output / "manifest" / "kept").glob("*.parquet")):
        yield from pq.read_table(path, columns=["uid"])["uid"].to_pylist()
