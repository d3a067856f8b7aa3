"""What a run would need, before anything is run or written: rows, memory, disk, hours.

Every formula is here, but for the memory of embedding (`embedding.memory`); each states its terms. What they are fed is
counted and measured by `probe`.
"""

import os
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from filtering.concepts.kmeans import ITERATIONS as KMEANS_ITERATIONS
from filtering.concepts.kmeans import POINTS_PER_CENTROID, automatic_clusters
from filtering.config import Config
from filtering.embedding.memory import PROCESS_BYTES, embedder_bytes
from filtering.errors import InputError
from filtering.filters.objects import BLOCK_ROWS
from filtering.graph.knn import SPARE_CANDIDATES, nearest_neighbours
from filtering.graph.recall import QUERIES as RECALL_QUERIES
from filtering.graph.sharded import search_memory_bytes
from filtering.probe import Pool, measured_pool
from filtering.selection.stage import wanted_total
from filtering.shards.inventory import Shard

PROBE_ROWS = 4096
# Ray and its first workers come up (measured on an idle machine of 2 cores).
START_SECONDS = 15
# What lowers a task's memory: in other stages, and in embedding.
MEMORY_KEYS = (
    "concepts.partition_rows or graph.k",
    "embedding.batch_size, embedding.text_batch_size, embedding.max_pixels or embedding.max_image_bytes",
)


def plan(config: Config, shards: Sequence[Shard]) -> dict[str, Any]:
    """Return the projected size and cost of a run; nothing is written.

    Raises
    ------
    InputError
        If a stage needs more memory than a worker can have, naming it with its numbers.
    """
    pool = measured_pool(config, shards)
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
        "dimension": pool.probe.dimension,
        "concepts": clusters,
        "keep": min(wanted_total(config.selection.keep, pool.rows), pool.rows),
        "cpus": cpus,
        "memory_per_worker_bytes": allowed,
        "disk_bytes": sum(stage["disk_bytes"] for stage in stages),
        "seconds": round(seconds, 1),
        "hours": round(seconds / 3600, 4),
        "stages": stages,
        "probe": asdict(pool.probe),
    }


def _stages(config: Config, pool: Pool, clusters: int) -> list[dict[str, Any]]:
    """Return each stage's CPU seconds (spread over the workers, and on one), bytes a task, bytes on disk."""
    d, k, rows, shard = pool.probe.dimension, config.graph.k, pool.rows, pool.largest_shard
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
        _stage("embedding", rows * pool.probe.seconds_per_row, 0, embedding, rows * (2 * vector * tars + 200)),
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
        "memory_per_task_bytes": int(PROCESS_BYTES + task_bytes),
        "disk_bytes": int(disk_bytes),
    }


def _tar_memory(config: Config, pool: Pool) -> int:
    probe, settings = pool.probe, config.embedding
    forward = (probe.image_forward_bytes, probe.text_forward_bytes)
    size = (probe.width, probe.height, pool.largest_shard)
    # What a process holds besides is part of every stage's figure.
    return embedder_bytes(settings, *size, probe.model_bytes, forward) - PROCESS_BYTES


def _refuse_what_cannot_fit(stages: Sequence[dict[str, Any]], allowed: int, cpus: int) -> None:
    worst = max(stages, key=lambda stage: int(stage["memory_per_task_bytes"]))
    needed, tars = worst["memory_per_task_bytes"], worst["name"] == "embedding"
    if needed > allowed:
        raise InputError(
            f"plan: stage {worst['name']} needs {needed / 1e9:.1f} GB a task, but {cpus} workers share "
            f"{allowed * cpus / 1e9:.1f} GB, {allowed / 1e9:.1f} GB each; lower ray.num_cpus, {MEMORY_KEYS[tars]}"
        )


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
