"""`filtering demo`: build the pool, run the main job on it, and measure its planted defects."""

import re
from pathlib import Path
from typing import TypedDict

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import yaml

from filtering.concepts.artifacts import read_centroids
from filtering.concepts.nearest import nearest_centroids
from filtering.config.run import Config, load_config
from filtering.core.errors import InputError
from filtering.demo.openmoji import nameless_count
from filtering.demo.pool import build_pool
from filtering.demo.quality import Measure, measures
from filtering.embedding.artifacts import EmbeddedShard, unit_rows
from filtering.manifests.artifacts import REPORT
from filtering.manifests.opened import OpenedRun, open_run
from filtering.manifests.places import check_apart
from filtering.pipeline import run as pipeline
from filtering.runtime.progress import Reporter
from filtering.shards.inventory import list_shards
from filtering.storage.outputs import Layout, check_folder, check_output
from filtering.storage.store import Store, absolute

SHARDS = 8
POOL = "pool/{00000000..00000007}.tar"
CONFIG_NAME = "demo.yaml"
LAYOUT = Layout("--out", re.compile(r"demo\.yaml|pool|run|truth\.parquet"), insisting=False)
CONFIG: dict[str, object] = {
    "embedding": {"model": "demo"},
    # Small partitions, so that this small pool has several and edges cross them.
    "concepts": {"partition_rows": 3000},
    # The default method: nothing is tuned to the pool.
    "selection": {"keep": 0.5},
}


class DemoFigures(TypedDict):
    """The figures of the demo, and the paths of its manifest and its report."""

    totals: dict[str, int]
    reasons: dict[str, dict[str, int]]
    measures: list[Measure]
    manifest: str
    page: str


def run_demo(directory: str, progress: Reporter) -> DemoFigures:
    """Build the pool in a folder, unless it is there, filter it, and return its figures.

    Raises InputError if the packages of the ``demo`` extra are not installed, or the folder holds files of others.
    """
    folder = Path(absolute(directory))
    _claim(folder)
    if not (folder / "truth.parquet").exists():
        _build(folder, progress)
    config = load_config(str(folder / CONFIG_NAME))
    record = pipeline.run(config, progress)
    return {
        "totals": record["totals"],
        "reasons": record["reasons"],
        "measures": _measured(folder, config),
        "manifest": f"{config.output}/manifest",
        "page": f"{config.output}/{REPORT}",
    }


def _build(folder: Path, progress: Reporter) -> None:
    def tell(done: int, total: int) -> None:
        if done == 1:
            progress.start("pool", total, "pictures")
        progress.advance(done)

    try:
        build_pool(folder, shards=SHARDS, progress=tell)
    finally:
        progress.stop()
    progress.finish(f"OpenMoji pictures in {SHARDS} shards; {nameless_count()} without a Unicode name left out")


def _claim(folder: Path) -> None:
    """Write the demo's configuration, by which the folder is known as the demo's from then on.

    Paths are absolute, so that `filtering run --config` takes it as it is. InputError if others wrote into the folder,
    or it is inside a run's.
    """
    check_folder("--out", str(folder))
    store, data = Store(str(folder)), _config_in(str(folder))
    if store.exists(CONFIG_NAME):
        found = store.read(CONFIG_NAME)
        if found == data:
            return
        _refuse_changed(store, found)
    check_apart(str(folder), LAYOUT)
    check_output(store, LAYOUT, (), into_existing=False)
    store.write(CONFIG_NAME, data)


def _config_in(folder: str) -> bytes:
    config = {"input": {"shards": f"{folder}/{POOL}"}, **CONFIG, "output": f"{folder}/run"}
    return yaml.safe_dump(config, sort_keys=False).encode()


def _refuse_changed(store: Store, found: bytes) -> None:
    """Refuse a configuration that the demo wrote into another folder, or that was edited since: InputError."""
    try:
        read = yaml.safe_load(found)
        before = read["input"]["shards"].removesuffix(f"/{POOL}")
    except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError, AttributeError):
        return
    if found == _config_in(before):
        raise InputError(f"--out: {store.url} is a demo that was moved from {before}; move it back, or choose another")
    if before == store.url:
        path = store.path(CONFIG_NAME)
        raise InputError(
            f"--out: {path} is no longer what the demo wrote; choose another folder, or give: "
            f"filtering run --config {path}"
        )


def _measured(folder: Path, config: Config) -> list[Measure]:
    run = open_run(config.output)
    truth = pq.read_table(folder / "truth.parquet")
    kept, dropped = (found.to_table(["uid"])["uid"].to_pylist() for found in (run.kept(), run.dropped()))
    usable = pa.array([*kept, *dropped], pa.string())
    truth = truth.filter(pc.is_in(truth["uid"], value_set=usable))
    concepts, count = _concepts(config, run)
    return measures(truth, kept, concepts, count)


def _concepts(config: Config, opened: OpenedRun) -> tuple[dict[str, int], int]:
    """Return the nearest concept of every embedded sample, filtered ones too, and how many concepts there are."""
    run, objects = Store(opened.url), opened.summary["objects"]
    centroids = read_centroids(run.child(objects["concepts"])).vectors
    nearest: dict[str, int] = {}
    for shard in list_shards(config.input):
        embedded = EmbeddedShard(shard, run.child(objects["embedding"]))
        found, _ = nearest_centroids(unit_rows(embedded.images()), centroids, 1)
        nearest.update(zip(embedded.rows(["uid"])["uid"].to_pylist(), found[:, 0].tolist(), strict=True))
    return nearest, len(centroids)
