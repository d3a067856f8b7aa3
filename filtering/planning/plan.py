"""The needs of a run before anything is run or written: rows, memory, disk, hours, money.

The formulas are in `filtering.planning.costs` (and `embedding.memory`); their inputs are counted and measured by
`filtering.planning.probe`.
"""

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import cast

from filtering.concepts.stage import wanted_clusters
from filtering.config.methods import exchanges_of
from filtering.config.run import Config
from filtering.config.selection import Step
from filtering.core.errors import InputError
from filtering.embedding.memory import embedder_bytes
from filtering.embedding.metadata import vector_source
from filtering.pipeline.selection_steps import every_spec, every_step, reads_texts
from filtering.pipeline.step_checks import sizes_above, unread_sizes
from filtering.pipeline.step_words import step_lines
from filtering.planning.costs import (
    EMBEDDING_START,
    Asked,
    Speed,
    StageCost,
    metadata_cost,
    reference_speed,
    stage_costs,
)
from filtering.planning.probe import Pool, measured_pool, speed
from filtering.planning.projection import Measured, Plan, PlannedBase, PlannedStage, bottleneck
from filtering.planning.work import Work
from filtering.runtime.finished_run import Reusable
from filtering.selection.registry import selector_of
from filtering.selection.stage import wanted_total
from filtering.shards.inventory import Shard

# Start and end of the command: Python and its libraries, the inventory, the end of Ray.
COMMAND_SECONDS = 4
# The memory of the driver, and of each shard in it: in the inventory, in the tasks and results of a stage, and in what
# is listed of the stages' folders (benchmarks.speed.many_shards).
DRIVER_BYTES, SHARD_BYTES = 250_000_000, 8_000
# CPU seconds of the stages after embedding up to which this machine's speed is not measured, which takes longer: beside
# what their starts take, they do not count.
UNMEASURED_SECONDS = 2
# Files that cannot be used are named, up to this many.
FAULTS_SHOWN = 5
# Keys that lower the memory of a task: in other stages, and in embedding.
MEMORY_KEYS = (
    "concepts.partition_rows, concepts.largest or graph.k",
    "embedding.batch_size, embedding.text_batch_size, embedding.max_pixels or embedding.max_image_bytes",
)


@dataclass(frozen=True, slots=True)
class Question:
    """The options of a plan besides the configuration."""

    # Project to a pool of this many rows, in shards like the given ones; None for the pool itself
    rows: int | None = None
    cpus: int | None = None  # number of CPUs; None for those of this machine or of `ray.num_cpus`
    gpus: int = 1  # number of GPUs, where images are embedded on one
    # Samples that a GPU embeds in a second, for a plan from a machine without one; None for what is measured here
    gpu_rate: float | None = None
    # cpu_hour, gpu_hour: prices, in any currency
    cpu_hour: float | None = None
    gpu_hour: float | None = None


def plan(
    config: Config, shards: Sequence[Shard], question: Question | None = None, reusable: Reusable | None = None
) -> Plan:
    """Return the projected size and cost of a run; nothing is written.

    With a base, only shards that it does not have are embedded. The savings in later stages depend on the new samples
    and are not counted.

    Parameters
    ----------
    config : Config
        The run's configuration.
    shards : sequence of Shard
        The pool; some of it is read to measure the cost of a sample.
    question : Question, optional
        Other rows, other CPUs, and prices; by default the pool as it is, on this machine.
    reusable : Reusable, optional
        The base of an incremental run, and how its shards differ.

    Returns
    -------
    Plan
        A dict: sizes of the pool, the cost of the run and of each of its `stages`, the `bottleneck`, the `base`, and
        in `probe` the measurements.

    Raises
    ------
    InputError
        If a stage needs more memory than a worker of this machine can have; the line names the stage with its numbers.
        Projections to other rows or CPUs are for other machines and are not refused.
    """
    return plans(config, shards, [question or Question()], reusable)[0]


def plans(
    config: Config, shards: Sequence[Shard], questions: Sequence[Question], reusable: Reusable | None = None
) -> list[Plan]:
    """Return a plan for each question, as `plan` does; the pool and this machine are measured once."""
    pool, probe = measured_pool(config, shards), cache(speed)
    passing = None if not config.filters or pool.sampled is None else pool.sampled.passing(config.filters)
    return [_plan(config, shards, question, reusable, pool, passing, probe) for question in questions]


def _plan(
    config: Config,
    shards: Sequence[Shard],
    question: Question,
    reusable: Reusable | None,
    measured: Pool,
    share: float | None,
    speed_probe: Callable[[int, int], Speed],
) -> Plan:
    pool, count, size = _projected(measured, shards, question)
    work, here_cpus = _work(config, pool), os.cpu_count() or 1
    passing = None if share is None else round(pool.rows * share)
    cpus = question.cpus or (here_cpus if config.ray.num_cpus == "auto" else config.ray.num_cpus)
    asked, here_speed = _asked(config, pool), reference_speed(work.dimension)
    if sum(cost.spread_seconds for cost in stage_costs(work, here_speed, asked)) > UNMEASURED_SECONDS:
        here_speed = speed_probe(work.dimension, min(cpus, here_cpus))
    embedding = _of_new(_embedding(config, pool, work, here_speed.pace), shards, reusable)
    costs = [embedding, *stage_costs(work, here_speed, asked)]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    allowed, here = memory // cpus, question.rows is None and question.cpus is None
    if here:
        _refuse_what_cannot_fit(costs, allowed, cpus)
    seconds = COMMAND_SECONDS + sum(cost.seconds(cpus, question.gpus) for cost in costs)
    stages = [_stage(cost, cpus, question) for cost in costs]
    prices = [stage["price"] for stage in stages if stage["price"] is not None]
    cpu_hours = sum(cost.spread_seconds + cost.serial_seconds for cost in costs) / 3600
    gpu_hours = sum(cost.gpu_seconds for cost in costs) / 3600
    return Plan(
        shards=count,
        rows=pool.rows,
        input_bytes=size,
        dimension=pool.probe.dimension,
        concepts=work.clusters,
        selection=step_lines(config),
        selection_warnings=[*unread_sizes(config), *sizes_above(config, pool.rows)],
        passing=passing,
        keep=_kept(config, pool.rows if passing is None else passing),
        cpus=cpus,
        memory_per_worker_bytes=allowed,
        driver_bytes=DRIVER_BYTES + count * SHARD_BYTES,
        disk_bytes=int(sum(cost.disk_bytes for cost in costs)),
        shuffle_bytes=int(sum(cost.shuffle_bytes for cost in costs)),
        seconds=round(seconds, 1),
        hours=round(seconds / 3600, 4),
        cpu_hours=round(cpu_hours, 3),
        gpu_hours=round(gpu_hours, 3),
        gpus=question.gpus if gpu_hours else 0,
        price=round(sum(prices), 2) if prices else None,
        stages=stages,
        bottleneck=bottleneck(stages, allowed if here else None),
        base=None if reusable is None else PlannedBase(run=reusable.base.run.url, shards=reusable.changes.counts()),
        probe=cast(Measured, asdict(pool.probe) | asdict(here_speed)),
        warnings=_warnings(pool.faults),
    )


def _kept(config: Config, rows: int) -> int:
    """Return how many of some samples the steps of selection keep, at most: some decide that by what they find."""
    steps = config.selection.steps or (config.selection,)
    if not all(isinstance(step, Step) for step in steps):
        # Named selections are joined.
        return min(wanted_total(list(every_step(config))[-1].keep, rows), rows)
    for step in steps:
        if isinstance(step, Step) and step.reads_keep:
            rows = min(wanted_total(step.keep, rows), rows)
    return rows


def _warnings(faults: Sequence[str]) -> list[str]:
    more = [f"{len(faults) - FAULTS_SHOWN:,} more files cannot be used"] if len(faults) > FAULTS_SHOWN else []
    return [*faults[:FAULTS_SHOWN], *more]


def _projected(pool: Pool, shards: Sequence[Shard], question: Question) -> tuple[Pool, int, int]:
    """Return the pool that is asked about, its number of shards and its bytes."""
    count, size = len(shards), sum(shard.size for shard in shards)
    if question.gpu_rate is not None and pool.probe.device:
        probe = replace(pool.probe, device="cuda", forward_seconds=1 / question.gpu_rate)
        pool = replace(pool, probe=probe)
    if question.rows is None:
        return pool, count, size
    scale = question.rows / max(pool.rows, 1)
    projected = replace(pool, rows=question.rows, largest_shard=min(pool.largest_shard, question.rows))
    return projected, max(1, math.ceil(count * scale)), int(size * scale)


def _work(config: Config, pool: Pool) -> Work:
    clusters = min(wanted_clusters(config.concepts, pool.rows), max(pool.rows, 1))
    limit = config.concepts.partition_rows
    return Work(
        rows=pool.rows,
        largest_shard=pool.largest_shard,
        dimension=pool.probe.dimension,
        clusters=clusters,
        k=config.graph.k,
        max_replicas=config.graph.max_replicas,
        mean_replicas=config.graph.mean_replicas,
        partition_rows=None if limit == "auto" else limit,
    )


def _asked(config: Config, pool: Pool) -> Asked:
    """Return what selection and weights ask for; a score of several steps is computed once."""
    steps = [
        (step.method, selector_of(step).vectors, step.budget_name == "distinct", exchanges_of(step.settings))
        for step in every_step(config)
    ]
    specs = {str(spec.plain()): spec for spec in every_spec(config)}
    scores = tuple((str(spec.scorer.kind), spec.settings) for spec in specs.values())
    text_k = config.graph.text_k if reads_texts(config) else None
    draws = config.weights.most - 1 if config.weights else 0
    return Asked(scores, tuple(steps), pool.probe.seconds_per_row, text_k, draws)


def _embedding(config: Config, pool: Pool, work: Work, pace: float) -> StageCost:
    if not config.input.has_pictures:
        return metadata_cost(work, pace, vector_source(config.pool).copied)
    probe = pool.probe
    forward = (probe.image_forward_bytes, probe.text_forward_bytes)
    size = (probe.width, probe.height, pool.largest_shard, probe.model_bytes)
    memory = embedder_bytes(config.embedding, *size, forward, probe.further_pixels)
    disk, on_gpu = pool.rows * (probe.vector_bytes + 200), probe.device == "cuda"
    seconds = pool.rows * (probe.decode_seconds if on_gpu else probe.seconds_per_row)
    gpu_seconds = pool.rows * probe.forward_seconds if on_gpu else 0
    return StageCost("embedding", seconds, 0, memory, disk, start_seconds=EMBEDDING_START, gpu_seconds=gpu_seconds)


def _of_new(cost: StageCost, shards: Sequence[Shard], reusable: Reusable | None) -> StageCost:
    """Return the cost of embedding the shards that the base does not have, by their bytes."""
    if reusable is None:
        return cost
    known, every = reusable.identities(), sum(shard.size for shard in shards)
    share = sum(shard.size for shard in shards if shard.identity not in known) / max(every, 1)
    return replace(
        cost,
        spread_seconds=cost.spread_seconds * share,
        gpu_seconds=cost.gpu_seconds * share,
        disk_bytes=cost.disk_bytes * share,
    )


def _stage(cost: StageCost, cpus: int, question: Question) -> PlannedStage:
    return PlannedStage(
        name=cost.name,
        seconds=round(cost.seconds(cpus, question.gpus), 3),
        cpu_seconds=round(cost.spread_seconds + cost.serial_seconds, 3),
        gpu_seconds=round(cost.gpu_seconds, 3),
        serial_seconds=round(cost.serial_seconds, 3),
        memory_per_task_bytes=int(cost.task_bytes),
        disk_bytes=int(cost.disk_bytes),
        shuffle_bytes=int(cost.shuffle_bytes),
        price=_price(cost, question),
    )


def _price(cost: StageCost, question: Question) -> float | None:
    """Return the price of a stage's hours, by the prices that are given; None where it has no hours with a price."""
    cpu, gpu = cost.spread_seconds + cost.serial_seconds, cost.gpu_seconds
    priced = [(cpu, question.cpu_hour), (gpu, question.gpu_hour)]
    prices = [seconds / 3600 * rate for seconds, rate in priced if rate is not None and (seconds or not gpu)]
    return round(sum(prices), 4) if prices else None


def _refuse_what_cannot_fit(costs: Sequence[StageCost], allowed: int, cpus: int) -> None:
    worst = max(costs, key=lambda cost: cost.task_bytes)
    needed, tars = worst.task_bytes, worst.name == "embedding"
    if needed > allowed:
        raise InputError(
            f"plan: stage {worst.name} needs {needed / 1e9:.1f} GB a task, but {cpus} workers share "
            f"{allowed * cpus / 1e9:.1f} GB, {allowed / 1e9:.1f} GB each; lower ray.num_cpus, {MEMORY_KEYS[tars]}"
        )
