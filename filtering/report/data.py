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
    """The data of the report.

    Attributes
    ----------
    run_id : the run's identity
    output : the path or URL of the run's directory
    created : the time at which the report was written, as text
    totals : samples under the keys input, kept, dropped and quarantined
    dropped_by_reason : samples by reason, in the order of the run: filters, then steps of selection
    quarantined_by_reason : samples (or shards) by reason
    quarantine_examples : some of them
    selection : the filters and the steps of selection in plain words, a sentence for each
    score_name : the score of the last step
    recall : share of the true k nearest neighbours that the graph found, 0 to 1; NaN where not measured
    k : neighbours of each sample in the graph
    graph : further facts about the graph: labels and figures, as text
    manifest_hash : hash of the manifest of kept samples
    measures : the kept samples compared with the pool and with a random choice
    histograms : score distributions
    concepts : one row for each concept, or for the largest of them
    more_concepts : number of concepts without a row
    duplicate_cosine : minimum cosine of near-duplicates
    duplicates : the largest groups of near-duplicates
    filtered : examples of the samples that the filters dropped
    lowest : the dropped samples with the lowest CLIP scores, lowest first
    shards, pictured_shards : shards of the pool, and those of them that were read for images
    stages : time and memory of the stages, in the order in which they ran
    warnings : facts that the reader must know first
    base : the differences from the base of an incremental run: labels and figures, as text; empty without a base
    config_yaml : the resolved configuration
    versions : versions of the software, by name
    commands : commands that reproduce the run and inspect it, each with its purpose
    against : the differences from a second run; None if none was given
    """

    run_id: str
    output: str
    created: str
    totals: Mapping[str, int]
    dropped_by_reason: Mapping[str, int]
    quarantined_by_reason: Mapping[str, int]
    quarantine_examples: tuple[QuarantineExample, ...]
    selection: tuple[str, ...]
    score_name: str
    recall: float
    k: int
    graph: tuple[tuple[str, str], ...]
    manifest_hash: str
    measures: tuple[Measure, ...]
    histograms: tuple[Histogram, ...]
    concepts: tuple[ConceptRow, ...]
    more_concepts: int
    duplicate_cosine: float
    duplicates: tuple[DuplicateGroup, ...]
    filtered: tuple[ReasonExamples, ...]
    lowest: tuple[Thumbnail, ...]
    shards: int
    pictured_shards: int
    stages: tuple[StageCost, ...]
    warnings: tuple[str, ...]
    base: tuple[tuple[str, str], ...]
    config_yaml: str
    versions: Mapping[str, str]
    commands: tuple[tuple[str, str], ...]
    against: Against | None = None


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
