"""A plan as plain data, and its bottleneck."""

from collections.abc import Sequence
from typing import TypedDict


class PlannedStage(TypedDict):
    """The projected cost of a stage; `price` is None without prices."""

    name: str
    seconds: float
    cpu_seconds: float
    gpu_seconds: float
    serial_seconds: float
    memory_per_task_bytes: int
    disk_bytes: int
    shuffle_bytes: int
    price: float | None


class SlowestStage(TypedDict):
    """The stage that takes most time, and its share of all stages' seconds."""

    stage: str
    seconds: float
    share: float


class LargestStage(TypedDict):
    """The stage with the largest tasks, and their share of the memory of a worker, None where that is not known."""

    stage: str
    bytes: int
    share: float | None


class Bottleneck(TypedDict):
    """The stages that decide how long a run takes and how much memory it needs."""

    time: SlowestStage
    memory: LargestStage


class PlannedBase(TypedDict):
    """The base of an incremental run, and how many shards are new, changed, removed and the same."""

    run: str
    shards: dict[str, int]


class Measured(TypedDict):
    """What was measured, as `probe.Probe` has it, and seconds of one distance of the neighbour search.

    The latter are those of the machine of `costs` for a pool that is so small that they do not count.
    """

    dimension: int
    samples: int
    decode_seconds: float
    forward_seconds: float
    device: str
    model_bytes: int
    image_forward_bytes: int
    text_forward_bytes: int
    width: int
    height: int
    further_pixels: int
    vector_bytes: int
    pair_seconds: float
    pace: float


class Plan(TypedDict):
    """The projected size and cost of a run; `keep` counts samples, `price` is None without prices.

    `passing` are the samples that pass the filters, by the share of some that do; None without filters. `keep` are at
    most so many: a method that itself decides how many it keeps may keep fewer. `selection` has a line for each step of
    D2, what it is in full, and `selection_warnings` those of its sizes.
    `driver_bytes` is what the driver holds, which knows every shard and no sample.
    `warnings` name files that a run would quarantine, the first few.
    """

    shards: int
    rows: int
    input_bytes: int
    dimension: int
    concepts: int
    selection: list[str]
    selection_warnings: list[str]
    passing: int | None
    keep: int
    cpus: int
    memory_per_worker_bytes: int
    driver_bytes: int
    disk_bytes: int
    shuffle_bytes: int
    seconds: float
    hours: float
    cpu_hours: float
    gpu_hours: float
    gpus: int
    price: float | None
    stages: list[PlannedStage]
    bottleneck: Bottleneck
    base: PlannedBase | None
    probe: Measured
    warnings: list[str]


def bottleneck(stages: Sequence[PlannedStage], allowed: int | None) -> Bottleneck:
    """Return which of some stages, at least one, decide how long a run takes and how much memory it needs.

    `allowed` are the bytes that a worker may have; None where that is not known, for other machines than this one.
    """
    slowest = max(stages, key=lambda stage: stage["seconds"])
    largest = max(stages, key=lambda stage: stage["memory_per_task_bytes"])
    seconds, memory = sum(stage["seconds"] for stage in stages), largest["memory_per_task_bytes"]
    share = round(slowest["seconds"] / seconds, 4) if seconds else 0.0
    return Bottleneck(
        time=SlowestStage(stage=slowest["name"], seconds=slowest["seconds"], share=share),
        memory=LargestStage(stage=largest["name"], bytes=memory, share=round(memory / allowed, 4) if allowed else None),
    )
