"""A run's record: run.json, written last, so that its presence means that the run is finished."""

from typing import NotRequired, TypedDict

from filtering.core.errors import InputError
from filtering.runtime.records import JsonObject
from filtering.storage.store import Store

RUN = "run.json"


class StageCost(TypedDict, total=False):
    """The cost of a stage; `reused` if an earlier attempt at the run had finished it."""

    name: str
    seconds: float
    peak_memory_bytes: int
    tasks: int
    tasks_retried: int
    retries: int
    read_bytes: int
    written_bytes: int
    fingerprint: str
    summary: str
    reused: bool


class FilterRecord(TypedDict):
    """A filter: its kind, the settings that were given and, of clip_score, the threshold that they led to."""

    kind: str
    settings: JsonObject
    threshold: float | None


class StepRecord(TypedDict):
    """A step of selection: its stage and folder, the reason of samples that it drops, its score and its settings.

    Where named selections are joined there is no score, and no settings.
    """

    stage: str
    folder: str
    reason: str
    score: str
    settings: JsonObject | None


class RedoneConcepts(TypedDict):
    """How many concepts there are, and how many were searched and selected again."""

    all: int
    searched: int
    selected: int | None


class BaseRecord(TypedDict):
    """The base of an incremental run, and how much had changed since: shards by kind of change, work done again."""

    run: str
    run_id: str
    shards: dict[str, int]
    embedded_shards: int
    concepts: RedoneConcepts


class RunRecord(TypedDict):
    """The contents of run.json.

    `totals` are samples by outcome, `reasons` samples by outcome and reason, `objects` the folder of each stage's
    objects, `scores` the folder of each score by its name.
    """

    run_id: str
    config: JsonObject
    config_hash: str
    versions: dict[str, str]
    stages: list[StageCost]
    recall: float
    graph: JsonObject
    measures: JsonObject
    totals: dict[str, int]
    reasons: dict[str, dict[str, int]]
    warnings: list[str]
    objects: dict[str, str]
    filters: list[FilterRecord]
    steps: list[StepRecord]
    scores: dict[str, str]
    manifest_hash: str
    base: NotRequired[BaseRecord]
    drift: NotRequired[JsonObject]
    finished: NotRequired[float]


def read_run(run: Store) -> RunRecord:
    """Return run.json of a finished run; InputError if there is none."""
    if not run.exists(RUN):
        raise InputError(f"{run.url}: holds no finished run (no {RUN})")
    record: RunRecord = run.read_json(RUN)
    return record
