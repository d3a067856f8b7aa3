"""What the page shows, as plain data: everything on it follows from one `Page`, which is kept as JSON beside it."""

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
class Page:
    """Everything the page shows.

    Attributes
    ----------
    run_id : the run's identity
    output : the path or URL of the run's directory
    created : when the page was made, as text
    totals : samples under the keys input, kept, dropped and quarantined
    dropped_by_reason : samples by reason, in the order of the run: filters, then steps of selection
    quarantined_by_reason : samples (or shards) by reason
    quarantine_examples : some of them
    selection : how the selection works, in plain words: a sentence for each of its steps
    score_name : the score that its last step judges by
    recall : share of the true k nearest neighbours that the graph found, 0 to 1; NaN where not measured
    k : neighbours of each sample in the graph
    graph : what else is known of the graph: labels and figures, as text
    manifest_hash : hash of the manifest of kept samples
    measures : what is kept against the pool and against chance
    histograms : score distributions
    concepts : one row for each concept, or for the largest of them
    more_concepts : how many concepts have no row
    duplicate_cosine : from which cosine on two pictures count as near-duplicates
    duplicates : the largest groups of near-duplicates
    filtered : examples of what the filters left out
    lowest : the dropped samples of lowest CLIP score, lowest first
    shards, pictured_shards : how many shards the pool has, and how many of them were read for pictures
    stages : time and memory, in the order they ran
    warnings : what the reader must know first
    base : what was new against the run that this one started from: labels and figures, as text; empty without one
    config_yaml : the resolved configuration
    versions : versions of the software, by name
    commands : commands that reproduce the run and look further, each with what it does
    against : what this run decides differently from another; None where none was named
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
    """A page as JSON; the dataclasses in it follow this model's configuration."""

    model_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64", ser_json_inf_nan="strings")

    page: Page


def page_bytes(page: Page) -> bytes:
    """Return a page's data as JSON; pictures are base64."""
    return _Stored(page=page).model_dump_json().encode()


def parse_page(data: bytes) -> Page:
    """Return the page that `page_bytes` wrote."""
    return _Stored.model_validate_json(data).page
