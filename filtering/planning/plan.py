"""What a run would need, before anything is run or written: rows, memory, disk, hours, money.

The formulas are in `filtering.planning.costs` (and `embedding.memory`); what they are fed is counted and measured by
`filtering.planning.probe`.
"""

import math
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from filtering.concepts.stage import wanted_clusters
from filtering.config.run import Config
from filtering.config.selection import Step
from filtering.core.errors import InputError
from filtering.embedding.memory import embedder_bytes
from filtering.pipeline.selection_steps import every_step, specs_of
from filtering.planning.costs import EMBEDDING_START, Asked, StageCost, Work, metadata_cost, stage_costs
from filtering.planning.probe import Pool, measured_pool, pair_seconds
from filtering.runtime.finished_run import Reusable
from filtering.scores.registry import Spec, with_parts
from filtering.selection.registry import SELECTORS
from filtering.selection.stage import wanted_total
from filtering.shards.inventory import Shard

# The command begins and ends: Python and its libraries, the inventory, Ray's farewell.
COMMAND_SECONDS = 4
# What lowers a task's memory: in other stages, and in embedding.
MEMORY_KEYS = (
    "concepts.partition_rows, concepts.largest or graph.k",
    "embedding.batch_size, embedding.text_batch_size, embedding.max_pixels or embedding.max_image_bytes",
)


@dataclass(frozen=True, slots=True)
class Question:
    """What a plan is asked besides the configuration.

    Attributes
    ----------
    rows : a pool of so many rows, of shards like those that are there; None for the pool itself.
    cpus : how many CPUs; None for those of this machine or of `ray.num_cpus`.
    cpu_hour, gpu_hour : what they cost, in any currency.
    """

    rows: int | None = None
    cpus: int | None = None
    cpu_hour: float | None = None
    gpu_hour: float | None = None


def plan(
    config: Config, shards: Sequence[Shard], question: Question | None = None, carried: Reusable | None = None
) -> dict[str, Any]:
    """Return the projected size and cost of a run; nothing is written.

    With a base, only shards that it does not have are embedded. What it spares the stages after that depends on what
    the new samples show, and is not counted.

    Parameters
    ----------
    config : Config
        The run's configuration.
    shards : sequence of Shard
        The pool; some of it is read to measure what a sample takes.
    question : Question, optional
        Other rows, other CPUs, and prices; the pool as it is, here, unless given.
    carried : Reusable, optional
        The base, and what has become of its shards.

    Returns
    -------
    dict
        Of the pool `shards`, `rows`, `input_bytes`, `dimension`; `concepts`, `keep` (samples), `cpus`,
        `memory_per_worker_bytes`, `disk_bytes`, `shuffle_bytes`, `seconds`, `hours`, `cpu_hours`, `gpu_hours`, `price`
        (None without prices); `stages`: what each takes; `bottleneck`, as the function of that name returns it;
        `base`: the run and how its shards differ, or None; `probe`: what was measured.

    Raises
    ------
    InputError
        If a stage needs more memory than a worker of this machine can have, naming it with its numbers. A projection
        to other rows or CPUs is not of this machine and says what a task needs.
    """
    question = question or Question()
    pool = measured_pool(config, shards)
    count, size = len(shards), sum(shard.size for shard in shards)
    if question.rows is not None:
        scale = question.rows / max(pool.rows, 1)
        count, size = max(1, math.ceil(count * scale)), int(size * scale)
        pool = replace(pool, rows=question.rows, largest_shard=min(pool.largest_shard, question.rows))
    work = _work(config, pool, count)
    cpus = question.cpus or _cpus(config)
    pair = pair_seconds(work.dimension, min(cpus, os.cpu_count() or 1))
    costs = [
        _of_new(_embedding(config, pool, work, pair), shards, carried),
        *stage_costs(work, pair, _asked(config, pool)),
    ]
    allowed = _memory_bytes() // cpus
    here = question.rows is None and question.cpus is None
    if here:
        _refuse_what_cannot_fit(costs, allowed, cpus)
    seconds = COMMAND_SECONDS + sum(cost.seconds(cpus) for cost in costs)
    stages = [_stage(cost, cpus, _price(cost, pool, question)) for cost in costs]
    return {
        "shards": count,
        "rows": pool.rows,
        "input_bytes": size,
        "dimension": pool.probe.dimension,
        "concepts": work.clusters,
        "keep": min(wanted_total(_last_step(config).keep, pool.rows), pool.rows),
        "cpus": cpus,
        "memory_per_worker_bytes": allowed,
        "disk_bytes": int(sum(cost.disk_bytes for cost in costs)),
        "shuffle_bytes": int(sum(cost.shuffle_bytes for cost in costs)),
        "seconds": round(seconds, 1),
        "hours": round(seconds / 3600, 4),
        **_hours_and_price(costs, pool, question),
        "stages": stages,
        "bottleneck": bottleneck(stages, allowed if here else None),
        "base": None if carried is None else {"run": carried.base.url, "shards": carried.changes.counts()},
        "probe": asdict(pool.probe) | {"pair_seconds": pair},
    }


def bottleneck(stages: Sequence[dict[str, Any]], allowed: int | None) -> dict[str, Any]:
    """Return which stages decide how long a run takes and how much memory it needs.

    Parameters
    ----------
    stages : sequence of dict
        As `plan` has them, at least one.
    allowed : int or None
        Bytes that a worker may have; None where that is not known, for other machines than this one.

    Returns
    -------
    dict
        `time`: stage, seconds and share of all stages' seconds; `memory`: stage, bytes of a task and their share of
        what a worker may have, or None.
    """
    slowest = max(stages, key=lambda stage: float(stage["seconds"]))
    largest = max(stages, key=lambda stage: int(stage["memory_per_task_bytes"]))
    seconds, memory = sum(stage["seconds"] for stage in stages), largest["memory_per_task_bytes"]
    return {
        "time": {
            "stage": slowest["name"],
            "seconds": slowest["seconds"],
            "share": round(slowest["seconds"] / seconds, 4) if seconds else 0.0,
        },
        "memory": {
            "stage": largest["name"],
            "bytes": memory,
            "share": round(memory / allowed, 4) if allowed else None,
        },
    }


def _work(config: Config, pool: Pool, shards: int) -> Work:
    clusters = min(wanted_clusters(config.concepts, pool.rows), max(pool.rows, 1))
    limit = config.concepts.partition_rows
    return Work(
        rows=pool.rows,
        shards=shards,
        largest_shard=pool.largest_shard,
        dimension=pool.probe.dimension,
        clusters=clusters,
        k=config.graph.k,
        reach=config.graph.max_replicas,
        most_guests=config.graph.mean_replicas,
        partition_rows=None if limit == "auto" else limit,
    )


def _asked(config: Config, pool: Pool) -> Asked:
    """Return what the steps of selection ask for; a score that several ask for is computed once."""
    steps, specs = [], dict[str, Spec]()
    for step in every_step(config):
        one = SELECTORS[step.method]
        steps.append((step.method, one.vectors))
        for spec in (spec for asked in specs_of(step) for spec in with_parts(asked)):
            specs[str(spec.plain())] = spec
    scores = tuple((str(spec.scorer.kind), spec.settings) for spec in specs.values())
    return Asked(scores, tuple(steps), pool.probe.seconds_per_row)


def _last_step(config: Config) -> Step:
    return list(every_step(config))[-1]


def _embedding(config: Config, pool: Pool, work: Work, pair: float) -> StageCost:
    if config.input.metadata is not None:
        return metadata_cost(work, pair)
    probe = pool.probe
    forward = (probe.image_forward_bytes, probe.text_forward_bytes)
    memory = embedder_bytes(config.embedding, probe.width, probe.height, pool.largest_shard, probe.model_bytes, forward)
    seconds, disk = pool.rows * probe.seconds_per_row, pool.rows * (4 * work.dimension + 200)
    return StageCost("embedding", seconds, 0, memory, disk, start_seconds=EMBEDDING_START)


def _of_new(cost: StageCost, shards: Sequence[Shard], carried: Reusable | None) -> StageCost:
    """Return what embedding costs of the shards that no base has, by their bytes."""
    if carried is None:
        return cost
    known, every = carried.identities(), sum(shard.size for shard in shards)
    share = sum(shard.size for shard in shards if shard.identity not in known) / max(every, 1)
    return replace(cost, spread_seconds=cost.spread_seconds * share, disk_bytes=cost.disk_bytes * share)


def _stage(cost: StageCost, cpus: int, price: float | None) -> dict[str, Any]:
    return {
        "name": cost.name,
        "seconds": round(cost.seconds(cpus), 3),
        "cpu_seconds": round(cost.spread_seconds + cost.serial_seconds, 3),
        "serial_seconds": round(cost.serial_seconds, 3),
        "memory_per_task_bytes": int(cost.task_bytes),
        "disk_bytes": int(cost.disk_bytes),
        "shuffle_bytes": int(cost.shuffle_bytes),
        "price": price,
    }


def _hours_and_price(costs: Sequence[StageCost], pool: Pool, question: Question) -> dict[str, Any]:
    gpu = sum(cost.spread_seconds for cost in costs if _on_gpu(cost, pool)) / 3600
    cpu = sum(cost.spread_seconds + cost.serial_seconds for cost in costs if not _on_gpu(cost, pool)) / 3600
    prices = [price for cost in costs if (price := _price(cost, pool, question)) is not None]
    return {
        "cpu_hours": round(cpu, 3),
        "gpu_hours": round(gpu, 3),
        "price": round(sum(prices), 2) if prices else None,
    }


def _on_gpu(cost: StageCost, pool: Pool) -> bool:
    return cost.name == "embedding" and pool.probe.device == "cuda"


def _price(cost: StageCost, pool: Pool, question: Question) -> float | None:
    rate = question.gpu_hour if _on_gpu(cost, pool) else question.cpu_hour
    return None if rate is None else round((cost.spread_seconds + cost.serial_seconds) / 3600 * rate, 4)


def _refuse_what_cannot_fit(costs: Sequence[StageCost], allowed: int, cpus: int) -> None:
    worst = max(costs, key=lambda cost: cost.task_bytes)
    needed, tars = worst.task_bytes, worst.name == "embedding"
    if needed > allowed:
        raise InputError(
            f"plan: stage {worst.name} needs {needed / 1e9:.1f} GB a task, but {cpus} workers share "
            f"{allowed * cpus / 1e9:.1f} GB, {allowed / 1e9:.1f} GB each; lower ray.num_cpus, {MEMORY_KEYS[tars]}"
        )


def _cpus(config: Config) -> int:
    return (os.cpu_count() or 1) if config.ray.num_cpus == "auto" else config.ray.num_cpus


def _memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
