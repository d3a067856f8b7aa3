"""What the page shows, as plain data."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """One sample on a contact sheet.

    Attributes
    ----------
    key : the sample's key
    caption : its text
    score : the score it was judged by
    reason : why it was dropped, as the manifest spells it; empty for a kept sample
    jpeg : a small picture; None shows the caption alone
    """

    key: str
    caption: str
    score: float
    reason: str
    jpeg: bytes | None


@dataclass(frozen=True, slots=True)
class Sheet:
    """The contact sheets of one concept.

    Attributes
    ----------
    kept, dropped : examples, in the order to show them
    """

    kept: tuple[Thumbnail, ...]
    dropped: tuple[Thumbnail, ...]


@dataclass(frozen=True, slots=True)
class ConceptRow:
    """One line of the table of concepts.

    Attributes
    ----------
    concept : the concept's number
    words : frequent words of its captions, most telling first
    size : samples that reached selection
    budget : samples it might keep
    kept : samples it kept
    d_intra : mean cosine distance of its samples to its centre
    d_inter : mean cosine distance of its centre to the nearest other centres
    mean_score : mean CLIP score of the samples it kept, as far as they were sampled for the page; NaN where none was
    sheet : examples; None where none were drawn
    """

    concept: int
    words: tuple[str, ...]
    size: int
    budget: int
    kept: int
    d_intra: float
    d_inter: float
    mean_score: float
    sheet: Sheet | None


@dataclass(frozen=True, slots=True)
class Histogram:
    """A score's distribution, kept against dropped.

    Attributes
    ----------
    name : the score's name, such as clip_score
    edges : bounds of the bins, ascending, one more than there are bins
    kept, dropped : samples in each bin
    """

    name: str
    edges: tuple[float, ...]
    kept: tuple[int, ...]
    dropped: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Measure:
    """What the selection makes of the pool, by one measure.

    Attributes
    ----------
    name, meaning : in plain words
    pool, selection, random : the figures of the whole pool, of what is kept and of a random choice of equal size;
        None where there is none
    """

    name: str
    meaning: str
    pool: float | None
    selection: float | None
    random: float | None


@dataclass(frozen=True, slots=True)
class StageCost:
    """What a stage of the run took.

    Attributes
    ----------
    name : the stage's name
    seconds : wall-clock time
    peak_memory_bytes : largest resident memory of one process; 0 where it was not measured
    summary : what it did, in a few words
    """

    name: str
    seconds: float
    peak_memory_bytes: int
    summary: str


@dataclass(frozen=True, slots=True)
class QuarantineExample:
    """A sample or shard that could not be used.

    Attributes
    ----------
    shard : the shard's URL
    member : the tar member at fault, or the key; may be empty where a whole shard is meant
    reason : the fault, in a word
    detail : the fault, in a sentence
    """

    shard: str
    member: str
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class Page:
    """Everything the page shows.

    Attributes
    ----------
    run_id : the run's identity
    output : the path or URL of the run's directory
    created : when the page was made, as text
    totals : samples under the keys input, kept, dropped and quarantined
    dropped_by_reason : samples by reason, filters in their order
    quarantined_by_reason : samples (or shards) by reason
    quarantine_examples : some of them
    recall : share of the true k nearest neighbours that the graph found, 0 to 1; NaN where not measured
    k : neighbours of each sample in the graph
    manifest_hash : hash of the manifest of kept samples
    measures : what is kept against the pool and against chance
    histograms : score distributions
    concepts : one row for each concept
    lowest : the dropped samples of lowest CLIP score, lowest first
    stages : time and memory, in the order they ran
    warnings : what the reader must know first
    config_yaml : the resolved configuration
    versions : versions of the software, by name
    commands : commands that reproduce the run
    """

    run_id: str
    output: str
    created: str
    totals: Mapping[str, int]
    dropped_by_reason: Mapping[str, int]
    quarantined_by_reason: Mapping[str, int]
    quarantine_examples: tuple[QuarantineExample, ...]
    recall: float
    k: int
    manifest_hash: str
    measures: tuple[Measure, ...]
    histograms: tuple[Histogram, ...]
    concepts: tuple[ConceptRow, ...]
    lowest: tuple[Thumbnail, ...]
    stages: tuple[StageCost, ...]
    warnings: tuple[str, ...]
    config_yaml: str
    versions: Mapping[str, str]
    commands: tuple[str, ...]
