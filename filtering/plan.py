"""What a run would need, before anything is run or written: rows, memory, disk, hours.

Every formula is here; each states its terms. A row count is exact for DataComp metadata and for tars with
img2dataset's statistics beside them; otherwise it is extrapolated from the first shards by their bytes.
"""

import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from filtering.concepts.kmeans import ITERATIONS as KMEANS_ITERATIONS
from filtering.concepts.kmeans import POINTS_PER_CENTROID, automatic_clusters
from filtering.config import Config
from filtering.errors import InputError
from filtering.filters.objects import BLOCK_ROWS
from filtering.graph.knn import SPARE_CANDIDATES, nearest_neighbours
from filtering.graph.recall import QUERIES as RECALL_QUERIES
from filtering.graph.sharded import search_memory_bytes
from filtering.selection.stage import wanted_total
from filtering.shards.inventory import Shard, arrays_url
from filtering.shards.metadata import array_shape
from filtering.shards.samples import WINDOW_BYTES, Sample, read_samples
from filtering.storage import filesystem_of, open_object

# A worker with numpy, pyarrow and Ray loaded; and with torch and open_clip as well (measured resident sizes).
WORKER_BYTES = 350 << 20
TORCH_BYTES = 700 << 20
PROBE_SHARDS = 2
PROBE_SAMPLES = 64
PROBE_ROWS = 4096
# Ray and its first workers come up (measured on an idle machine of 2 cores).
START_SECONDS = 15
IMAGE_PIXELS = 224 * 224


@dataclass(frozen=True, slots=True)
class Pool:
    """What is known of the pool: rows in all, in the largest shard, and the embeddings' dimension."""

    rows: int
    largest_shard: int
    dimension: int
    embed_seconds_per_row: float
    model_bytes: int


def plan(config: Config, shards: Sequence[Shard]) -> dict[str, Any]:
    """Return the projected size and cost of a run; nothing is written.

    Raises
    ------
    InputError
        If a stage needs more memory than a worker can have, naming it with its numbers.
    """
    pool = _metadata_pool(config, shards) if config.input.metadata is not None else _tar_pool(config, shards)
    wanted = config.concepts.clusters
    clusters = min(automatic_clusters(pool.rows) if wanted == "auto" else wanted, max(pool.rows, 1))
    cpus = _cpus(config)
    stages = _stages(config, pool, clusters)
    allowed = _memory_bytes() // cpus
    _refuse_what_cannot_fit(stages, allowed, cpus)
    alone = sum(stage["serial_seconds"] for stage in stages)
    seconds = START_SECONDS + alone + (sum(stage["cpu_seconds"] for stage in stages) - alone) / cpus
    return {
        "shards": len(shards),
        "rows": pool.rows,
        "input_bytes": sum(shard.size for shard in shards),
        "dimension": pool.dimension,
        "concepts": clusters,
        "keep": min(wanted_total(config.selection.keep, pool.rows), pool.rows),
        "cpus": cpus,
        "memory_per_worker_bytes": allowed,
        "disk_bytes": sum(stage["disk_bytes"] for stage in stages),
        "seconds": round(seconds, 1),
        "hours": round(seconds / 3600, 4),
        "stages": stages,
    }


def _stages(config: Config, pool: Pool, clusters: int) -> list[dict[str, Any]]:
    """Return each stage's CPU seconds (spread over the workers, and on one), bytes a task, bytes on disk."""
    d, k, rows, shard = pool.dimension, config.graph.k, pool.rows, pool.largest_shard
    reach = min(config.graph.reach, clusters)
    vector, visited, rate = 2 * d, rows * reach, _flops()
    # A partition holds partition_rows rows with guests, or one whole concept: up to 4 times the mean is allowed for.
    partition = min(visited, max(config.concepts.partition_rows, 4 * visited // clusters))
    own = partition // reach
    sample = min(rows, clusters * POINTS_PER_CENTROID)
    block = min(shard, BLOCK_ROWS)
    grouping = block * reach * (6 * vector + 200) + shard * (vector + 150)
    tars = config.input.shards is not None
    embedding = _tar_memory(config, pool) if tars else block * d * 24 + 2 * shard * vector
    kmeans = KMEANS_ITERATIONS * 2 * sample * clusters * d / rate
    search = (2 * rows * visited / clusters * d + RECALL_QUERIES * 2 * rows * d) / rate
    rerank = rows * (k + 1 + SPARE_CANDIDATES) * d * 3e-9
    return [
        _stage("embedding", rows * pool.embed_seconds_per_row, 0, embedding, rows * (2 * vector * tars + 200)),
        _stage("filters", rows * 1e-6, rows * 1e-6, rows * 64, rows),
        _stage(
            "concepts",
            2 * rows * clusters * d / rate,
            kmeans,
            sample * d * 10 + block * (6 * d + 4 * clusters),
            rows * 16,
        ),
        _stage("partitions", visited * 4e-6, 0, grouping, visited * (vector + 60)),
        _stage("graph", search + rerank, 0, search_memory_bytes(partition, own, d, k), 2 * k * rows * 24),
        _stage("scores", rows * 1e-6, 0, shard * 40, rows * 4),
        _stage("selection", k * rows * 8e-7, 0, own * k * 160 + rows * 4, rows * 24),
        _stage("manifests", rows * 3e-6, rows * 2e-6, shard * 400 + rows * 120, rows * 90),
        _stage("report", rows * 2e-6, 2, shard * 300 + (100 << 20), 15 << 20),
    ]


def _stage(name: str, spread: float, alone: float, task_bytes: float, disk_bytes: float) -> dict[str, Any]:
    return {
        "name": name,
        "cpu_seconds": round(spread + alone, 3),
        "serial_seconds": round(alone, 3),
        "memory_per_task_bytes": int(WORKER_BYTES + task_bytes),
        "disk_bytes": int(disk_bytes),
    }


def _tar_memory(config: Config, pool: Pool) -> int:
    batches = 3 * config.embedding.batch_size * 3 * IMAGE_PIXELS * 4
    return TORCH_BYTES + pool.model_bytes + batches + WINDOW_BYTES + pool.largest_shard * 6 * pool.dimension


def _refuse_what_cannot_fit(stages: Sequence[dict[str, Any]], allowed: int, cpus: int) -> None:
    worst = max(stages, key=lambda stage: int(stage["memory_per_task_bytes"]))
    needed = worst["memory_per_task_bytes"]
    if needed > allowed:
        raise InputError(
            f"plan: stage {worst['name']} needs {needed / 1e9:.1f} GB a task, but {cpus} workers share "
            f"{allowed * cpus / 1e9:.1f} GB, {allowed / 1e9:.1f} GB each; lower ray.num_cpus, "
            "concepts.partition_rows or embedding.batch_size"
        )


def _metadata_pool(config: Config, shards: Sequence[Shard]) -> Pool:
    counts = []
    for shard in shards:
        with open_object(shard.url) as stream:
            counts.append(pq.ParquetFile(stream).metadata.num_rows)
    dimension = array_shape(arrays_url(shards[0]), config.input.arrays.image)[1]
    return Pool(sum(counts), max(counts), dimension, 8e-6, 0)


def _tar_pool(config: Config, shards: Sequence[Shard]) -> Pool:
    """Count rows from statistics where they are, else by bytes; time a few samples through the model."""
    counts = [_stated_samples(shard) for shard in shards]
    known = [(count, shard.size) for count, shard in zip(counts, shards, strict=True) if count is not None]
    if len(known) < len(shards):
        known += [(_counted_samples(shard), shard.size) for shard in shards[:PROBE_SHARDS]]
    per_byte = sum(count for count, _ in known) / max(sum(size for _, size in known), 1)
    rows = [int(shard.size * per_byte) if count is None else count for count, shard in zip(counts, shards, strict=True)]
    dimension, seconds, model_bytes = _probed(config, shards)
    return Pool(sum(rows), max(rows), dimension, seconds, model_bytes)


def _stated_samples(shard: Shard) -> int | None:
    url = shard.url.removesuffix(".tar") + "_stats.json"
    filesystem, path = filesystem_of(url)
    try:
        return int(json.loads(filesystem.cat_file(path))["successes"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _counted_samples(shard: Shard) -> int:
    with open_object(shard.url) as stream:
        return sum(1 for _ in read_samples(stream, shard.name))


def _probed(config: Config, shards: Sequence[Shard]) -> tuple[int, float, int]:
    """Return the embeddings' dimension, seconds a sample on one worker, and the model's bytes."""
    from filtering.embedding.model import ClipModel

    model = ClipModel(config.embedding)
    samples = _first_samples(shards)
    started = time.perf_counter()
    prepared = [(model.preparation.image(sample.image), sample.caption) for sample in samples]
    usable = [(image[0], text) for image, text in prepared if isinstance(image, tuple)]
    if not usable:
        raise InputError(f"plan: the first shards hold no sample that can be embedded, {shards[0].url} for one")
    tokens = model.preparation.tokens([text for _, text in usable])
    model.images(model.moved(np.stack([pixels for pixels, _ in usable])))
    dimension = model.texts(tokens).shape[1]
    seconds = (time.perf_counter() - started) / len(usable)
    return dimension, seconds, model.parameter_bytes()


def _first_samples(shards: Sequence[Shard]) -> list[Sample]:
    samples: list[Sample] = []
    for shard in shards[: 4 * PROBE_SHARDS]:
        with open_object(shard.url) as stream:
            for entry in read_samples(stream, shard.name):
                samples += [entry] if isinstance(entry, Sample) else []
                if len(samples) == PROBE_SAMPLES:
                    return samples
    return samples


def _flops() -> float:
    """Return the floating-point operations a second that the neighbour search reaches here on one thread."""
    vectors = np.random.default_rng(0).standard_normal((PROBE_ROWS, 256), dtype=np.float32)
    everyone = np.arange(PROBE_ROWS)
    started = time.perf_counter()
    nearest_neighbours(vectors, vectors, everyone, 10)
    return 2 * PROBE_ROWS**2 * 256 / (time.perf_counter() - started) / (os.cpu_count() or 1)


def _cpus(config: Config) -> int:
    return (os.cpu_count() or 1) if config.ray.num_cpus == "auto" else config.ray.num_cpus


def _memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
