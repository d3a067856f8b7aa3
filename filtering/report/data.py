"""The report's data: the HTML page is rendered from one `Report`, which is stored as JSON next to it."""

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from filtering.report.parts import (
    Against,
    ConceptRow,
    DuplicateGroup,
    Histogram,
    Measure,
    QuarantineExample,
    ReasonExamples,
    StageCost,
    Thumbnail,
)


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
    recall: float  # share of the true k nearest neighbours that the graph found, 0 to 1; NaN where not measured
    k: int  # neighbours of each sample in the graph
    graph: tuple[tuple[str, str], ...]  # further facts about the graph: labels and figures, as text
    manifest_hash: str  # hash of the manifest of kept samples
    measures: tuple[Measure, ...]  # the kept samples compared with the pool and with a random choice
    histograms: tuple[Histogram, ...]  # score distributions
    concepts: tuple[ConceptRow, ...]  # one row for each concept, or for the largest of them
    more_concepts: int  # number of concepts without a row
    duplicate_cosine: float  # minimum cosine of near-duplicates
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
    against: Against | None = None  # the differences from a second run; None if none was given


class _Stored(BaseModel):
    """A report as JSON; the dataclasses in it follow this model's configuration."""

    model_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64", ser_json_inf_nan="strings")

    page: Report


def report_bytes(report: Report) -> bytes:
    """Return a report's data as JSON; images are base64."""
    return _Stored(page=report).model_dump_json().encode()


def parse_report(data: bytes) -> Report:
    """Return the report that `report_bytes` wrote."""
    return _Stored.model_validate_json(data).page
