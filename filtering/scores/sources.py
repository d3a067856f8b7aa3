"""What scores are computed from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from filtering.config.embedding import Embedding
from filtering.config.run import Ray
from filtering.core.uid_rule import UidRule
from filtering.filters.artifacts import PassingShard
from filtering.scores.artifacts import GraphSource
from filtering.scores.contexts import Files
from filtering.shards.vectors import Side
from filtering.storage.store import Store


@dataclass(frozen=True, slots=True)
class Sources:
    """The inputs of scorers: sections of the configuration, facts about the pool, and folders of other stages.

    `model` is None for metadata, which has no model; `uid_rule` is the pool's; `k` is the image graph's; `rows` passed
    the filters; `dimension` is that of images and captions, and `of_concepts` are the model and the dimension of the
    vectors of concepts; `graphs` are those of images and, where a score reads it, of captions; `parts` are the folders
    of the scores that a combination adds up, or that `right` reads, in order; `files` are those that `score` was given.
    """

    model: Embedding | None
    uid_rule: UidRule
    workers: Ray
    k: int
    shards: Sequence[PassingShard]
    rows: int
    dimension: int
    of_concepts: tuple[Embedding | None, int]
    concepts: Store
    graphs: Mapping[Side, GraphSource]
    parts: Sequence[Store] = ()
    files: Files = field(default_factory=dict)
