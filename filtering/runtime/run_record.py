"""A run's record: run.json, written last, so that its presence means that the run is finished."""

from typing import Annotated, Any, NotRequired, Required, cast

from pydantic import AfterValidator, ConfigDict, with_config
from typing_extensions import TypedDict

from filtering.config.types import Signal
from filtering.core.errors import DamagedError, InputError
from filtering.core.parsing import Count, Finite, Seconds, parsed
from filtering.core.uid_rule import Uids
from filtering.runtime.events import NAME as EVENTS
from filtering.runtime.records import JsonObject
from filtering.storage import checksums
from filtering.storage.store import Store, digest

RUN = "run.json"


# What other versions write stays in records, for those who open a run from Python.
OPEN = with_config(ConfigDict(extra="allow"))
OUTCOMES = ("input", "kept", "dropped", "quarantined")


@OPEN
class StageCost(TypedDict, total=False):
    """The cost of a stage; `reused` if an earlier attempt at the run had finished it.

    `cpus` are the kinds of CPUs on which its tasks ran: models, and the instructions that decide how products are
    computed.
    """

    name: Required[str]
    fingerprint: Required[str]
    seconds: Seconds
    peak_memory_bytes: Count
    tasks: Count
    tasks_retried: Count
    retries: Count
    read_bytes: Count
    written_bytes: Count
    cpus: list[str]
    summary: str
    reused: bool


class StageRecord(TypedDict):
    """The record of a finished stage: its cost, and its result, which `from_plain` returns as the stage's class."""

    cost: StageCost
    result: Any


@OPEN
class RecordedArrays(TypedDict):
    """The names of the arrays of DataComp's npz files, or of clip-retrieval's folders."""

    image: str
    text: str


@OPEN
class RecordedColumns(TypedDict):
    """What is read of the names of a table's columns."""

    url: str | None


@OPEN
class RecordedInput(TypedDict):
    """What is read of the section `input` of a run's configuration; older versions had no rule for uids."""

    shards: NotRequired[Any]
    metadata: NotRequired[Any]
    clip_retrieval: NotRequired[Any]
    folders: NotRequired[RecordedArrays]
    tables: NotRequired[Any]
    columns: NotRequired[RecordedColumns | None]
    arrays: NotRequired[RecordedArrays]
    uids: NotRequired[Uids]
    root: NotRequired[str | None]
    fields: NotRequired[list[str]]


@OPEN
class RecordedEncoder(TypedDict):
    """What is read of a further encoder."""

    model: str


@OPEN
class RecordedEmbedding(TypedDict):
    """What is read of its section `embedding`."""

    model: str
    max_image_bytes: Count
    encoders: NotRequired[dict[str, RecordedEncoder]]
    signals: NotRequired[list[Signal]]


@OPEN
class RecordedConfig(TypedDict):
    """What is read of a run's configuration; a base's `graph` is compared as a whole."""

    input: RecordedInput
    embedding: RecordedEmbedding
    concepts: NotRequired[JsonObject]
    graph: NotRequired[JsonObject]
    output: NotRequired[str]
    weights: NotRequired[JsonObject | None]


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


def _all_outcomes(totals: dict[str, int]) -> dict[str, int]:
    if missing := [name for name in OUTCOMES if name not in totals]:
        raise ValueError(f"lacks {', '.join(missing)}")
    return totals


@OPEN
class RunRecord(TypedDict):
    """The contents of run.json.

    `totals` are samples by outcome, `reasons` samples by outcome and reason, `objects` the folder of each stage's
    objects, `scores` the folder of each score by its name, `right` what each P(right) was learned from, `sources` what
    was read besides the pool, and what tells its content. Older versions did not write what is not required.
    """

    run_id: str
    config: RecordedConfig
    config_hash: str
    versions: dict[str, str]
    stages: list[StageCost]
    recall: Finite
    totals: Annotated[dict[str, Count], AfterValidator(_all_outcomes)]
    manifest_hash: str
    reasons: dict[str, dict[str, Count]]
    warnings: list[str]
    objects: dict[str, str]
    epoch_samples: NotRequired[Count]
    graph: NotRequired[JsonObject]
    text_graph: NotRequired[JsonObject]
    measures: NotRequired[JsonObject]
    filters: NotRequired[list[FilterRecord]]
    steps: NotRequired[list[StepRecord]]
    scores: NotRequired[dict[str, str]]
    right: NotRequired[dict[str, JsonObject]]
    sources: NotRequired[dict[str, str]]
    base: NotRequired[BaseRecord]
    drift: NotRequired[JsonObject]
    finished: NotRequired[Finite]


def write_run(run: Store, record: RunRecord) -> None:
    """Write run.json, with a checksum that does not depend on the name of the run's folder."""
    run.write(RUN, checksums.record_bytes(RUN, record))


def read_run(run: Store) -> RunRecord:
    """Return run.json of a finished run; InputError if there is none, DamagedError if it is not what was written.

    Older versions wrote no checksum.
    """
    try:
        data = run.read(RUN)
    except FileNotFoundError:
        begun = "; the run there has not finished, the same command resumes it" if run.exists(EVENTS) else ""
        raise InputError(f"{run.url}: holds no finished run (no {RUN}){begun}") from None
    if checksums.has_slot(data):
        _check_sum(run.path(RUN), data)
    record = parsed(RunRecord, data, run.path(RUN))
    cast(dict[str, Any], record).pop(checksums.KEY, None)
    return record


def _check_sum(url: str, data: bytes) -> None:
    try:
        checksums.check(RUN, data)
    except DamagedError as error:
        raise DamagedError(url, error.fault) from None


def mark_of(record: RunRecord) -> str:
    """Return what tells the results of a run from those that other settings of it gave: equal for equal ones."""
    return digest([record["manifest_hash"], record["objects"]])


def check_same(run: Store, mark: str) -> None:
    """Refuse a run that was made again with other results than those of `mark`, `mark_of` what was opened: InputError.

    To be called after an object was read: run.json is deleted before any manifest is, and written after them.
    """
    try:
        same = mark_of(read_run(run)) == mark
    except InputError:
        # It is being made again.
        same = False
    if not same:
        raise InputError(f"{run.url}: was made again with other results since it was opened; open it again")


def stage_folder(run: Store, record: RunRecord, stage: str) -> Store:
    """Return the folder of a stage's objects; DamagedError if run.json does not name one."""
    if (folder := record["objects"].get(stage)) is None:
        raise DamagedError(run.path(RUN), f"names no folder of {stage} in objects; it is damaged, or of an old version")
    return run.child(folder)


def fingerprint_of(run: Store, record: RunRecord, stage: str) -> str:
    """Return the fingerprint of a stage, of the last one where several have its name; DamagedError without."""
    found = [cost["fingerprint"] for cost in record["stages"] if cost["name"] == stage]
    if not found:
        raise DamagedError(run.path(RUN), f"has no {stage} in stages; it is damaged, or of an old version")
    return found[-1]
