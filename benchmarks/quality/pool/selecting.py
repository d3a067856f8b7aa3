"""Runs filters as `filtering run` does: one output folder for all, so that what they share is computed once."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from benchmarks.lib import runs
from benchmarks.quality.pool.filtering_model import model_paths
from filtering.concepts import grouping_stage as grouping
from filtering.concepts import stage as concepts
from filtering.config.run import Config, parse_config
from filtering.embedding import stage as embedding
from filtering.filters import stage as filters
from filtering.graph import stage as graph
from filtering.pipeline import run as pipeline
from filtering.runtime.run_record import StageCost
from filtering.scores import stage as scores
from filtering.selection import stage as selection
from tests.support.pools import Silent

SELECTING, PREPARING = ("filters", "scores", "selection"), ("concepts", "partitions", "graph")
STAGES = (embedding, filters, concepts, grouping, graph, scores, selection)
# Part of the identity of a selection: those of other versions of the package are made again.
VERSIONS = [
    [stage.__name__, name, version]
    for stage in STAGES
    for name, version in sorted(vars(stage).items())
    if name.endswith("VERSION")
]


@dataclass(frozen=True, slots=True)
class Place:
    """The folders of a pool, of a filtering model, and of runs; `address` is their `ray.address`."""

    pool: Path
    model: Path
    work: Path
    address: str

    @classmethod
    def within(cls, folder: Path, address: str) -> "Place":
        """Return the place where all of them lie in one folder."""
        return cls(folder, folder, folder, address)


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

    @property
    def digest(self) -> str:
        """Return what identifies the pairs."""
        return digest_of(self.uids)


def digest_of(uids: Sequence[str]) -> str:
    """Return what identifies some pairs, by their uids in ascending order."""
    return sha256("\n".join(uids).encode()).hexdigest()[:16]


def selected(place: Place, filtering: Mapping[str, Any]) -> Selected:
    """Return the pairs that a filter keeps, from an earlier run if there was one.

    `filtering` is what its configuration says after the pool, the model and the graph.

    Raises
    ------
    InputError
        If this version of the package has no such method.
    """
    config = configured(place, filtering)
    if known := known_selection(place, config):
        return known
    path = _path(place, config)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(json.dumps({"configuration": config.resolved(), **_run(config)}))
    part.replace(path)
    return _read(path)


def known_selection(place: Place, config: Config) -> Selected | None:
    """Return the pairs that an earlier run kept, if there was one."""
    path = _path(place, config)
    return _read(path) if path.exists() else None


def configured(place: Place, filtering: Mapping[str, Any]) -> Config:
    """Return a filter's whole configuration; InputError if this version of the package has no such method."""
    model, weights = model_paths(place.model)
    return parse_config(
        {
            "input": {"shards": f"{place.pool}/pool/*.tar"},
            "output": f"{place.work}/run",
            "embedding": {"model": str(model), "pretrained": str(weights)},
            # Several partitions, so that edges cross them as in a large pool.
            "concepts": {"partition_rows": 8_000},
            "ray": {"address": place.address},
            **filtering,
        }
    )


def run_stages(config: Config) -> list[StageCost]:
    """Run a configuration, or what of it has not been run; return what each stage took."""
    shards = pipeline.check(config)
    runs.start_ray(config.ray.address, num_cpus=1)
    return pipeline.run(config, Silent(), shards=shards)["stages"]


def _path(place: Place, config: Config) -> Path:
    name = sha256(json.dumps([config.digest(), VERSIONS]).encode()).hexdigest()[:16]
    return place.work / "selected" / f"{name}.json"


def _read(path: Path) -> Selected:
    found = json.loads(path.read_text())
    return Selected(**{field: found[field] for field in ("uids", "seconds", "graph_seconds", "peak_bytes")})


def _run(config: Config) -> dict[str, Any]:
    chosen = [stage for stage in run_stages(config) if stage["name"] in SELECTING + PREPARING]
    return {
        "uids": sorted(_kept(Path(config.output))),
        "seconds": sum(stage["seconds"] for stage in chosen if stage["name"] in SELECTING),
        "graph_seconds": sum(stage["seconds"] for stage in chosen if stage["name"] in PREPARING),
        "peak_bytes": max(stage["peak_memory_bytes"] for stage in chosen),
    }


def _kept(output: Path) -> Iterable[str]:
    for path in sorted((output / "manifest" / "kept").glob("*.parquet")):
        yield from pq.read_table(path, columns=["uid"])["uid"].to_pylist()
