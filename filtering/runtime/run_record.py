"""A run's record: run.json, written last, so that its presence means that the run is finished."""

from typing import NotRequired, Required

from pydantic import ConfigDict, with_config
from typing_extensions import TypedDict

from filtering.core.errors import InputError, ShapeError
from filtering.core.parsing import Count, Finite, Seconds
from filtering.runtime.records import JsonObject
from filtering.storage.reading import read_as
from filtering.storage.store import Store

RUN = "run.json"


class StageCost(TypedDict, total=False):
    """The cost of a stage; `reused` if an earlier attempt at the run had finished it."""

    name: Required[str]
    seconds: Seconds
    peak_memory_bytes: Count
    tasks: Count
    tasks_retried: Count
    retries: Count
    read_bytes: Count
    written_bytes: Count
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

    all: Count
    searched: Count
    selected: Count | None


class BaseRecord(TypedDict):
    """The base of an incremental run, and how much had changed since: shards by kind of change, work done again."""

    run: str
    run_id: str
    shards: dict[str, Count]
    embedded_shards: Count
    concepts: RedoneConcepts


# What newer versions add stays in it, for those who open a run from Python.
@with_config(ConfigDict(extra="allow"))
class RunRecord(TypedDict):
    """The contents of run.json.

    `totals` are samples by outcome, `reasons` samples by outcome and reason, `objects` the folder of each stage's
    objects, `scores` the folder of each score by its name. Older versions wrote fewer keys, see `check_keys`.
    """

    run_id: NotRequired[str]
    config: NotRequired[JsonObject]
    config_hash: NotRequired[str]
    stages: NotRequired[list[StageCost]]
    totals: NotRequired[dict[str, Count]]
    manifest_hash: NotRequired[str]
    versions: NotRequired[dict[str, str]]
    recall: NotRequired[float]
    graph: NotRequired[JsonObject]
    measures: NotRequired[JsonObject]
    reasons: NotRequired[dict[str, dict[str, Count]]]
    warnings: NotRequired[list[str]]
    objects: NotRequired[dict[str, str]]
    filters: NotRequired[list[FilterRecord]]
    steps: NotRequired[list[StepRecord]]
    scores: NotRequired[dict[str, str]]
    base: NotRequired[BaseRecord]
    drift: NotRequired[JsonObject]
    finished: NotRequired[Finite]


def read_run(run: Store) -> RunRecord:
    """Return run.json of a finished run; InputError if there is none, DamagedError if it is something else."""
    if not run.exists(RUN):
        raise InputError(f"{run.url}: holds no finished run (no {RUN})")
    return read_as(run, RUN, RunRecord)


def check_keys(run: Store, record: RunRecord, *keys: str) -> None:
    """Raise DamagedError unless run.json has some keys; those of totals are `totals.kept` and so on."""
    known = record.keys() | {f"totals.{name}" for name in record.get("totals", {})}
    if missing := [key for key in keys if key not in known]:
        raise ShapeError(run.path(RUN), f"lacks {', '.join(missing)}; it is damaged or of an old version")


def stage_folder(run: Store, record: RunRecord, stage: str) -> Store:
    """Return the folder of a stage's objects; DamagedError if run.json does not name one."""
    if (folder := record.get("objects", {}).get(stage)) is None:
        raise ShapeError(run.path(RUN), f"names no folder of {stage} in objects; it is damaged, or of an old version")
    return run.child(folder)


def fingerprint_of(run: Store, record: RunRecord, stage: str) -> str:
    """Return the fingerprint of a stage, of the last one where several have its name; DamagedError without."""
    found = [cost.get("fingerprint") for cost in record.get("stages", []) if cost["name"] == stage]
    if not found or found[-1] is None:
        raise ShapeError(run.path(RUN), f"has no fingerprint of {stage} in stages; it is damaged, or of an old version")
    return found[-1]
