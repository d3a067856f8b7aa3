"""The parts of the page, as plain data: samples, contact sheets, concepts, histograms, groups, faults."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Cover:
    """The kept neighbour that stands for a dropped sample: the nearest in the graph.

    Attributes
    ----------
    uid, key, caption : of the neighbour
    cosine : how alike the two pictures are, 1 where their embeddings are the same
    jpeg : a small picture; None shows the caption alone
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
    clip_score : cosine of its picture's and its caption's embeddings; NaN where it is not known
    score : what the selection judged it by (`Page.score_name`); NaN where it did not get that far
    reason : why it was dropped, as the manifest spells it; empty for a kept sample
    rank : its place among the picks of its concept, from 0; None for a dropped sample
    cover : for a sample that the selection dropped, the kept neighbour that covers it; None where there is none
    jpeg : a small picture; None shows the caption alone
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
    dropped : samples that the selection left out, those of highest score first
    hardest, easiest : samples of highest and of lowest score, kept or dropped
    """

    kept: tuple[Thumbnail, ...]
    dropped: tuple[Thumbnail, ...]
    hardest: tuple[Thumbnail, ...]
    easiest: tuple[Thumbnail, ...]


@dataclass(frozen=True, slots=True)
class ConceptRow:
    """One line of the table of concepts, and its place on the map.

    Attributes
    ----------
    concept : the concept's number
    words : distinctive words of its captions, most telling first
    size : samples that reached selection
    kept : samples it kept
    budget : samples it might keep
    difficulty : mean of the score that the selection judges by; NaN where nothing is left of it
    density : mean cosine of its samples to its centre (1 - d_intra); 1 where all are alike
    apart : mean cosine distance of its centre to the nearest other centres (d_inter)
    duplicates : samples with a near-duplicate in the concept (`Page.duplicate_cosine`)
    x, y : its place on the map, 0 to 1 each: centres that lie near each other are alike
    sheet : examples; None where none were drawn
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
    about : what it is, in a few words; may be empty
    edges : bounds of the bins, ascending, one more than there are bins
    kept, dropped : samples in each bin
    below, above : whether the first and the last bin also hold what lies beyond the axis
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
    concept : where they stand
    size : how many there are
    kept : how many of them are kept
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
    reason : as the manifest spells it
    members : some of them, lowest CLIP score first
    """

    reason: str
    members: tuple[Thumbnail, ...]


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
    reused : whether an earlier attempt or run had done it already
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
    member : the tar member at fault, or the key; may be empty where a whole shard is meant
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
    run : whose number that is, before or after; empty where both number concepts in the same way
    words : its distinctive words, where they are known
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
    """What this run decides differently from another.

    Attributes
    ----------
    run : the other run
    before, after, both : samples kept by the other run, by this one, by both
    gained, lost : samples that became kept, and that became dropped, by why
    shards : how many are new, removed and in both
    concepts : those in which something changed, most changes first, at most some hundreds
    more_concepts : how many further ones there are
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
