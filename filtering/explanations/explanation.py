"""What an explanation says: a dictionary that is printed as JSON."""

from collections.abc import Mapping
from typing import TypedDict


class SeenSample(TypedDict):
    """A sample beside the one that is explained; its rank among the picks of its concept, None where it is dropped."""

    uid: str
    key: str
    shard: str
    caption: str
    kept: bool
    rank: int | None


class Neighbour(SeenSample):
    """A neighbour in the graph."""

    cosine: float
    same_concept: bool


class Push(SeenSample):
    """A pick that lowered the score of the sample, see `filtering.selection.replay`."""

    picked_as: int  # its place among the picks, from 0
    took: float


class Messages(TypedDict):
    """What D2's messages did to the score of the sample, see `filtering.selection.replay`."""

    heard: float
    left: float
    last_pick: float | None  # None where its concept has no pick
    taken: float
    pushes: list[Push]  # those that took most, the most first


class Cover(SeenSample):
    """A pick that covers the sample, see `filtering.selection.replay`."""

    picked_as: int  # its place among the picks, from 0
    factor: float  # by which the novelty of the sample fell


class Novelty(TypedDict):
    """What picks left of the expected novelty of the sample, see `filtering.selection.novelty`."""

    probability: float  # of being right
    weight: float  # of its novelty, by how well image and caption fit; 1 where nothing weighs
    novelty: float  # of not being covered, when it was picked, or at the last pick
    gain: float  # then
    last_gain: float | None  # of the last pick; None where there is none
    covers: list[Cover]  # those that cover it most, the most first


class StepFacts(TypedDict):
    """What a step of selection did with the sample and its concept."""

    stage: str
    method: str
    score: str  # its name
    value: float  # of the sample
    candidates: int  # samples of the concept that reached the step
    higher: int  # those of them that score higher
    budget: int
    picked: int
    rank: int | None  # among the picks, from 0
    least_picked: float | None  # the lowest score that was picked
    # Of D2, by its variant; None where its picks are no single greedy order
    messages: Messages | None
    novelty: Novelty | None


class ConceptFacts(TypedDict):
    """The concept of the sample."""

    concept: int
    words: list[str]
    size: int
    density: float


class FilterFacts(TypedDict):
    """What a filter asks for, and what the sample has."""

    filter: str
    asks: Mapping[str, object]
    has: Mapping[str, object]


class Explanation(TypedDict, total=False):
    """Why a sample was kept, dropped or quarantined; what does not apply has no key."""

    run: str
    outcome: str
    uid: str | None
    key: str | None
    shard: str
    reason: str  # like its meaning in plain words, empty for a kept sample
    meaning: str
    member: str  # like the detail, of a quarantined sample
    detail: str
    caption: str
    width: int
    height: int
    scores: dict[str, float]
    filter: FilterFacts  # where a filter decided; else the concept, its neighbours and the step
    concept: ConceptFacts
    neighbours: list[Neighbour]
    step: StepFacts
    verdict: str  # why, in a sentence
