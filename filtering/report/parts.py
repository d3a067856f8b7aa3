"""The parts of the report's data: samples, contact sheets, concepts, histograms, groups of duplicates, faults."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Cover:
    """The kept neighbour that covers a dropped sample: the nearest one in the graph."""

    uid: str  # uid, key, caption: of the neighbour
    key: str
    caption: str
    cosine: float  # cosine of the two image embeddings
    jpeg: bytes | None  # a small image; None if only the caption is shown


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """One sample on a contact sheet."""

    uid: str  # uid, key, caption: of the sample
    key: str
    caption: str
    shard: str  # the last part of its shard's URL
    clip_score: float  # cosine of the embeddings of its image and its caption; NaN if unknown
    score: float  # its score at the last step of selection (`Report.score_name`); NaN if it was dropped before
    reason: str  # the reason why it was dropped, as in the manifest; empty for a kept sample
    rank: int | None  # its position among the picks of its concept, from 0; None for a dropped sample
    # For a sample that the selection dropped, the kept neighbour that covers it; None if there is none
    cover: Cover | None
    jpeg: bytes | None  # a small image; None if only the caption is shown


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
    difficulty: float  # mean score at the last step of selection; NaN if no sample reached it
    density: float  # mean cosine of its samples to its centroid (1 - d_intra); 1 if all are equal
    apart: float  # mean cosine distance of its centroid to the nearest other centroids (d_inter)
    duplicates: int  # samples with a near-duplicate in the concept (`Report.duplicate_cosine`)
    x: float  # x, y: its position on the map, 0 to 1 each: similar concepts are close to each other
    y: float
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


@dataclass(frozen=True, slots=True)
class StageCost:
    """The cost of a stage."""

    name: str
    seconds: float  # wall-clock time
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


@dataclass(frozen=True, slots=True)
class ChangedConcept:
    """A concept in which two runs decide differently."""

    concept: int
    run: str  # the run that the number belongs to, before or after; empty if both runs use the same numbers
    words: tuple[str, ...]  # its distinctive words, if known
    before: int  # before, after: samples kept by either run
    after: int
    gained: int  # gained, lost: samples that became kept, and that became dropped
    lost: int


@dataclass(frozen=True, slots=True)
class Against:
    """The differences of this run from a second run."""

    run: str
    before: int  # before, after, both: samples kept by the second run, by this one, by both
    after: int
    both: int
    gained: Mapping[str, int]  # gained, lost: samples that became kept, and that became dropped, by reason
    lost: Mapping[str, int]
    shards: Mapping[str, int]  # numbers of shards that are new, removed and in both
    concepts: tuple[ChangedConcept, ...]  # concepts with changes, most changes first, at most some hundreds
    more_concepts: int  # number of further concepts with changes
