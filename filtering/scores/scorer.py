"""What a scorer is: how it is computed, from what, and which values it can have."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from filtering.config.types import Section, Signal
from filtering.scores.artifacts import Scores
from filtering.scores.contexts import Context, ContextSources, Files

Float32Array = npt.NDArray[np.float32]
Int32Array = npt.NDArray[np.int32]
Arrays = Mapping[str, npt.NDArray[Any]]
# A shard's rows (`schemas.ROWS`), the scorer's parameters and the files that it reads in, float32 or float64 (n,) out.
ScoreRows = Callable[[pa.Table, Any, Files], Scores]
# Unit-norm image embeddings, float32 (n, d), the concept of each, int32 (n,), and the context in, float32 (n,) out.
ScoreImages = Callable[[Float32Array, Int32Array, Arrays], Float32Array]
# Arrays that scoring any shard needs, read once: from the parameters, and what else there is to read.
ReadContext = Callable[[Any, ContextSources], Context]


class Kind(StrEnum):
    """How a score is computed: `stage.COMPUTE` has a function for each."""

    ROWS = "rows"
    IMAGES = "images"
    GRAPH = "graph"
    BATCHES = "batches"
    CAPTIONS = "captions"
    TOWERS = "towers"
    PARTS = "parts"
    CENTRED = "centred"
    NEIGHBOURS = "neighbours"
    RIGHT = "right"


class Values(StrEnum):
    """The values that a score can have, for a person."""

    SHARE = "0 to 1"
    LEVEL = "0 to 1, and no probability"
    COSINE = "-1 to 1"
    DISTANCE = "0 to 2"
    ANY = "any"
    OWN = "any, as it is given; checked in a run where probabilities are needed"

    @property
    def probable(self) -> bool:
        """Whether they can be probabilities; of what the user gives, only the data tell."""
        return self in (Values.SHARE, Values.OWN)


@dataclass(frozen=True, slots=True)
class Scorer:
    """A score: how it is computed, what it means, its inputs for a person, its paper, its parameters and its values.

    `of_rows` computes scores of ROWS, `of_images` and `context` those of IMAGES; with `by_concepts`, of the images'
    vectors from which concepts are made, where another encoder makes them. `signal` is that of pictures, with a column
    of its name, that rows must have.
    """

    kind: Kind
    about: str
    inputs: str
    source: str = ""
    settings: type[Section] | None = None
    of_rows: ScoreRows | None = None
    of_images: ScoreImages | None = None
    context: ReadContext | None = None
    values: Values = Values.ANY
    by_concepts: bool = False
    signal: Signal | None = None
