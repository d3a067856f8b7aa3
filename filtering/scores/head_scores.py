"""The score of a head over image embeddings."""

import numpy as np

from filtering.config.scores import HeadScore
from filtering.filters.heads import head_values, read_head
from filtering.scores.contexts import Context, ContextSources
from filtering.scores.scorer import Arrays, Float32Array, Int32Array, Kind, Scorer, Values

# Beside the layers, in the context: the settings of the head, as JSON in bytes.
SETTINGS = "settings"


def head_context(settings: HeadScore, sources: ContextSources) -> Context:
    """Return the layers of a head, and its settings."""
    told = np.frombuffer(settings.model_dump_json().encode(), dtype=np.uint8)
    return {**read_head(settings, sources.files[settings.weights]), SETTINGS: told}


def head_scores(images: Float32Array, homes: Int32Array, context: Arrays) -> Float32Array:
    """Return what the head makes of images, float32 (n,), turned round where lower values are worth keeping."""
    settings = HeadScore.model_validate_json(context[SETTINGS].tobytes())
    layers = {name: one for name, one in context.items() if name != SETTINGS}
    values = head_values(images, layers, settings, "head")
    return values if settings.keep == "higher" else -values


HEAD = Scorer(
    Kind.IMAGES,
    "what a linear layer or a small perceptron of your own makes of the image embedding, such as an aesthetic score",
    "images, weights",
    "",
    HeadScore,
    of_images=head_scores,
    context=head_context,
    values=Values.OWN,
)
