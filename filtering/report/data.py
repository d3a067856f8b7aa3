"""The report's data: the HTML page is rendered from one `Report`, which is stored as JSON next to it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from filtering.core.parsing import damaged
from filtering.scores.artifacts import RightFigures


def _number(value: Any) -> Any:
    return math.nan if value is None else value


# A number, as JSON null where it is NaN.
Figure = Annotated[float, BeforeValidator(_number)]


@dataclass(frozen=True, slots=True)
class Cover:
    """The kept neighbour that covers a dropped sample: the nearest one in the graph."""

    uid: str  # uid, key, caption: of the neighbour
    key: str
    caption: str
    cosine: Figure  # cosine of the two image embeddings
    jpeg: bytes | None  # a small image; None if only the caption is shown


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """One sample on a contact sheet."""

    uid: str  # uid, key, caption: of the sample
    key: str
    caption: str
    shard: str  # the last part of its shard's URL
    clip_score: Figure  # cosine of the embeddings of its image and its caption; NaN if unknown
    score: Figure  # its score at the last step of selection (`Report.score_name`); NaN if it was dropped before
    reason: str  # the reason why it was dropped, as in the manifest; empty for a kept sample
    rank: int | None  # its position among the picks of its concept, from 0; None for a dropped sample
    # For a sample that the selection dropped, the kept neighbour that covers it; None if there is none
    cover: Cover | None
    jpeg: bytes | None  # a small image; None if only the caption is shown
    concept: int | None = None  # its concept; None if a filter dropped it
    scores: Mapping[str, Figure] = field(default_factory=dict)  # its scores by name, as far as they are known


@dataclass(frozen=True, slots=True)
class Sheet:
    """The contact sheets of one concept, each in the order to show it."""

    kept: tuple[Thumbnail, ...]  # the first picks
    dropped: tuple[Thumbnail, ...]  # samples that the selection dropped, highest score first
    # hardest, easiest: samples with the highest and with the lowest scores, kept or dropped
    hardest: tuple[Thumbnail, ...]
    easiest: tuple[Thumbnail, ...]


@dataclass(frozen=True, slots=True)
class ConceptRow:
    """One row of the table of concepts, and its position on the map."""

    concept: int
    words: tuple[str, ...]  # distinctive words of its captions, most distinctive first
    size: int  # samples that reached selection
    kept: int
    budget: int  # samples that it may keep
    difficulty: Figure  # mean score at the last step of selection; NaN if no sample reached it
    density: Figure  # mean cosine of its samples to its centroid (1 - d_intra); 1 if all are equal
    apart: Figure  # mean cosine distance of its centroid to the nearest other centroids (d_inter)
    duplicates: int  # samples with a near-duplicate in the concept (`Report.duplicate_cosine`)
    x: Figure  # x, y: its position on the map, 0 to 1 each: similar concepts are close to each other
    y: Figure
    sheet: Sheet | None  # examples; None if there are none


@dataclass(frozen=True, slots=True)
class Histogram:
    """A score's distribution, kept against dropped."""

    name: str  # the score's name, such as clip_score
    about: str  # its meaning in a few words; may be empty
    edges: tuple[float, ...]  # bounds of the bins, ascending, one more than there are bins
    kept: tuple[int, ...]  # kept, dropped: samples in each bin
    dropped: tuple[int, ...]
    below: bool = False  # below, above: whether the first and the last bin also count values beyond the axis
    above: bool = False


@dataclass(frozen=True, slots=True)
class DuplicateGroup:
    """Samples of one concept that are near-duplicates of each other, directly or through others."""

    concept: int
    size: int  # number of samples
    kept: int  # number of kept samples
    members: tuple[Thumbnail, ...]  # some of them, kept ones first


@dataclass(frozen=True, slots=True)
class ReasonExamples:
    """Samples that were dropped before selection, for one reason."""

    reason: str  # as in the manifest
    members: tuple[Thumbnail, ...]  # some of them, lowest CLIP score first


@dataclass(frozen=True, slots=True)
class Measure:
    """One measure of the selection."""

    name: str  # name, meaning: in plain words
    meaning: str
    # pool, selection, random: the figures of the whole pool, of the kept samples and of a random choice of equal
    # size; None if there is none
    pool: float | None
    selection: float | None
    random: float | None
    better: str = ""  # lower or higher; empty if neither is better


@dataclass(frozen=True, slots=True)
class StageCost:
    """The cost of a stage."""

    name: str
    seconds: Figure  # wall-clock time
    peak_memory_bytes: int  # largest resident memory of one process; 0 if it was not measured
    summary: str  # its result in a few words
    reused: bool = False  # whether an earlier attempt or run had finished it


@dataclass(frozen=True, slots=True)
class QuarantineExample:
    """A sample or shard that could not be used."""

    shard: str  # the shard's URL
    member: str  # the tar member at fault, or the key; may be empty for a whole shard
    reason: str  # the fault, in a word
    detail: str  # the fault, in a sentence
    key: str = ""  # the sample's key; empty for a whole shard
    caption: str = ""  # its caption, if it has one
    jpeg: bytes | None = None  # a small image; None if it has none that can be decoded


@dataclass(frozen=True, slots=True)
class Report:
    """The data of the report."""

    run_id: str
    output: str  # the path or URL of the run's directory
    created: str  # the time at which the report was written, as text
    totals: Mapping[str, int]  # samples under the keys input, kept, dropped and quarantined
    dropped_by_reason: Mapping[str, int]  # samples by reason, in the order of the run: filters, then steps of selection
    quarantined_by_reason: Mapping[str, int]  # samples (or shards) by reason
    quarantine_examples: tuple[QuarantineExample, ...]  # some of them
    selection: tuple[str, ...]  # the filters and the steps of selection in plain words, a sentence for each
    score_name: str  # the score of the last step
    recall: Figure  # share of the true k nearest neighbours that the graph found, 0 to 1; NaN where not measured
    k: int  # neighbours of each sample in the graph
    graph: tuple[tuple[str, str], ...]  # further facts about the graph: labels and figures, as text
    manifest_hash: str  # hash of the manifest of kept samples
    measures: tuple[Measure, ...]  # the kept samples compared with the pool and with a random choice
    histograms: tuple[Histogram, ...]  # score distributions
    concepts: tuple[ConceptRow, ...]  # one row for each concept, or for the largest of them
    more_concepts: int  # number of concepts without a row
    duplicate_cosine: Figure  # minimum cosine of near-duplicates
    duplicates: tuple[DuplicateGroup, ...]  # the largest groups of near-duplicates
    filtered: tuple[ReasonExamples, ...]  # examples of the samples that the filters dropped
    lowest: tuple[Thumbnail, ...]  # the dropped samples with the lowest CLIP scores, lowest first
    shards: int  # shards, pictured_shards: shards of the pool, and those of them that were read for images
    pictured_shards: int
    stages: tuple[StageCost, ...]  # time and memory of the stages, in the order in which they ran
    warnings: tuple[str, ...]  # facts that the reader must know first
    # The differences from the base of an incremental run: labels and figures, as text; empty without a base
    base: tuple[tuple[str, str], ...]
    config_yaml: str  # the resolved configuration
    versions: Mapping[str, str]  # versions of the software, by name
    commands: tuple[tuple[str, str], ...]  # commands that reproduce the run and inspect it, each with its purpose
    novelty: tuple[str, ...] = ()  # the reasons that stand for expected novelty
    right: Mapping[str, RightFigures] = field(default_factory=dict)  # by score what P(right) was learned from
    # A random sample of the kept samples and of those of each reason, taken in turn; then the covering neighbours
    examples: tuple[Thumbnail, ...] = ()


class _Stored(BaseModel):
    """A report as JSON; the dataclasses in it follow this model's configuration."""

    model_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64", ser_json_inf_nan="null")

    page: Report


def report_bytes(report: Report) -> bytes:
    """Return a report's data as JSON; images are base64."""
    return _Stored(page=report).model_dump_json().encode()


def parse_report(data: bytes, where: str = "page.json") -> Report:
    """Return the report that `report_bytes` wrote; DamagedError, with `where` it was read, if it is something else."""
    try:
        return _Stored.model_validate_json(data).page
    except ValidationError as error:
        raise damaged(where, error) from None
