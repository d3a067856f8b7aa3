"""The parts of the report's data: samples, contact sheets, concepts, histograms, groups of duplicates, faults."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Cover:
    """The kept neighbour that covers a dropped sample: the nearest one in the graph.

    Attributes
    ----------
    uid, key, caption : of the neighbour
    cosine : cosine of the two image embeddings
    jpeg : a small image; None if only the caption is shown
    """

    uid: str
    key: str
    caption: str
    cosine: float
    jpeg: bytes | None


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """One sample on a contact sheet.

    Attributes
    ----------
    uid, key, caption : of the sample
    shard : the last part of its shard's URL
    clip_score : cosine of the embeddings of its image and its caption; NaN if unknown
    score : its score at the last step of selection (`Report.score_name`); NaN if it was dropped before
    reason : the reason why it was dropped, as in the manifest; empty for a kept sample
    rank : its position among the picks of its concept, from 0; None for a dropped sample
    cover : for a sample that the selection dropped, the kept neighbour that covers it; None if there is none
    jpeg : a small image; None if only the caption is shown
    """

    uid: str
    key: str
    caption: str
    shard: str
    clip_score: float
    score: float
    reason: str
    rank: int | None
    cover: Cover | None
    jpeg: bytes | None


@dataclass(frozen=True, slots=True)
class Sheet:
    """The contact sheets of one concept, each in the order to show it.

    Attributes
    ----------
    kept : the first picks
    dropped : samples that the selection dropped, highest score first
    hardest, easiest : samples with the highest and with the lowest scores, kept or dropped
    """

    kept: tuple[Thumbnail, ...]
    dropped: tuple[Thumbnail, ...]
    hardest: tuple[Thumbnail, ...]
    easiest: tuple[Thumbnail, ...]


@dataclass(frozen=True, slots=True)
class ConceptRow:
    """One row of the table of concepts, and its position on the map.

    Attributes
    ----------
    concept : the concept's number
    words : distinctive words of its captions, most distinctive first
    size : samples that reached selection
    kept : kept samples
    budget : samples that it may keep
    difficulty : mean score at the last step of selection; NaN if no sample reached it
    density : mean cosine of its samples to its centroid (1 - d_intra); 1 if all are equal
    apart : mean cosine distance of its centroid to the nearest other centroids (d_inter)
    duplicates : samples with a near-duplicate in the concept (`Report.duplicate_cosine`)
    x, y : its position on the map, 0 to 1 each: similar concepts are close to each other
    sheet : examples; None if there are none
    """

    concept: int
    words: tuple[str, ...]
    size: int
    kept: int
    budget: int
    difficulty: float
    density: float
    apart: float
    duplicates: int
    x: float
    y: float
    sheet: Sheet | None


@dataclass(frozen=True, slots=True)
class Histogram:
    """A score's distribution, kept against dropped.

    Attributes
    ----------
    name : the score's name, such as clip_score
    about : its meaning in a few words; may be empty
    edges : bounds of the bins, ascending, one more than there are bins
    kept, dropped : samples in each bin
    below, above : whether the first and the last bin also count values beyond the axis
    """

    name: str
    about: str
    edges: tuple[float, ...]
    kept: tuple[int, ...]
    dropped: tuple[int, ...]
    below: bool = False
    above: bool = False


@dataclass(frozen=True, slots=True)
class DuplicateGroup:
    """Samples of one concept that are near-duplicates of each other, directly or through others.

    Attributes
    ----------
    concept : their concept
    size : number of samples
    kept : number of kept samples
    members : some of them, kept ones first
    """

    concept: int
    size: int
    kept: int
    members: tuple[Thumbnail, ...]


@dataclass(frozen=True, slots=True)
class ReasonExamples:
    """Samples that were dropped before selection, for one reason.

    Attributes
    ----------
    reason : as in the manifest
    members : some of them, lowest CLIP score first
    """

    reason: str
    members: tuple[Thumbnail, ...]


@dataclass(frozen=True, slots=True)
class Measure:
    """One measure of the selection.

    Attributes
    ----------
    name, meaning : in plain words
    pool, selection, random : the figures of the whole pool, of the kept samples and of a random choice of equal
        size; None if there is none
    """

    name: str
    meaning: str
    pool: float | None
    selection: float | None
    random: float | None


@dataclass(frozen=True, slots=True)
class StageCost:
    """The cost of a stage.

    Attributes
    ----------
    name : the stage's name
    seconds : wall-clock time
    peak_memory_bytes : largest resident memory of one process; 0 if it was not measured
    summary : its result in a few words
    reused : whether an earlier attempt or run had finished it
    """

    name: str
    seconds: float
    peak_memory_bytes: int
    summary: str
    reused: bool = False


@dataclass(frozen=True, slots=True)
class QuarantineExample:
    """A sample or shard that could not be used.

    Attributes
    ----------
    shard : the shard's URL
    member : the tar member at fault, or the key; may be empty for a whole shard
    reason : the fault, in a word
    detail : the fault, in a sentence
    """

    shard: str
    member: str
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class ChangedConcept:
    """A concept in which two runs decide differently.

    Attributes
    ----------
    concept : its number
    run : the run that the number belongs to, before or after; empty if both runs use the same numbers
    words : its distinctive words, if known
    before, after : samples kept by either run
    gained, lost : samples that became kept, and that became dropped
    """

    concept: int
    run: str
    words: tuple[str, ...]
    before: int
    after: int
    gained: int
    lost: int


@dataclass(frozen=True, slots=True)
class Against:
    """The differences of this run from a second run.

    Attributes
    ----------
    run : the second run
    before, after, both : samples kept by the second run, by this one, by both
    gained, lost : samples that became kept, and that became dropped, by reason
    shards : numbers of shards that are new, removed and in both
    concepts : concepts with changes, most changes first, at most some hundreds
    more_concepts : number of further concepts with changes
    """

    run: str
    before: int
    after: int
    both: int
    gained: Mapping[str, int]
    lost: Mapping[str, int]
    shards: Mapping[str, int]
    concepts: tuple[ChangedConcept, ...]
    more_concepts: int
