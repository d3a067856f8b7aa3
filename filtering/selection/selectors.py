"""The selectors: the samples of one concept and a budget in, picks in order out."""

import numpy as np

from filtering.config.methods import D2Settings, NoSettings, NoveltySettings, RandomSettings, ThresholdSettings
from filtering.core.csr import Int64Array
from filtering.core.uids import random_order
from filtering.selection import novelty
from filtering.selection.concept import ConceptSamples
from filtering.selection.d2 import Border, forward_messages, greedy_picks
from filtering.selection.kernel import Float64Array, Kernel


def d2_coreset(concept: ConceptSamples, budget: int, settings: D2Settings) -> Int64Array:
    """D2 Pruning: forward messages over all edges of the graph, reverse messages inside the concept.

    At most the last round of forward messages runs here: for more, the caller gives scores, the border's among them,
    that are the result of `rounds` - 1 rounds, because a round needs the messages that samples beyond the
    border got in the one before.
    """
    messages = messages_of(concept, settings) if settings.rounds else concept.scores
    return greedy_picks(concept.graph, messages, budget, settings.gamma_reverse, kernel=kernel_of(concept, settings))


def novel_coreset(concept: ConceptSamples, budget: int, settings: NoveltySettings) -> Int64Array:
    """Return the picks of the most expected novelty less expected harm, by the unit of the edges in the concept."""
    return novelty.select(concept.graph, concept.scores, budget, weights=concept.weights)


def messages_of(concept: ConceptSamples, settings: D2Settings) -> Float64Array:
    """Return the scores after one round of forward messages over all edges of the graph, float64 (n,)."""
    return forward_messages(
        concept.graph,
        concept.scores,
        settings.gamma_forward,
        messages=settings.messages,
        kernel=kernel_of(concept, settings),
        border=Border(concept.border_rows, concept.border_distances, concept.border_scores),
    )


def kernel_of(concept: ConceptSamples, settings: D2Settings) -> Kernel:
    """Return the kernel of one concept.

    The median of a self-scaled kernel is taken over all edges of the concept's samples, those that leave the concept
    among them (an edge inside has two ends here and counts twice).
    """
    lengths = concept.graph.distances, concept.border_distances
    return Kernel.of(*lengths, distance=settings.distance, scale=settings.scale)


def top_scores(concept: ConceptSamples, budget: int, settings: NoSettings | ThresholdSettings) -> Int64Array:
    """Return the highest scores, equal ones in the order of the pool."""
    return np.argsort(-concept.scores, kind="stable")[:budget]


def random_choice(concept: ConceptSamples, budget: int, settings: RandomSettings) -> Int64Array:
    """Return a random choice that depends on the uids and the seed alone."""
    return random_order(concept.uids, settings.seed)[:budget]


def everything(concept: ConceptSamples, budget: int, settings: NoSettings) -> Int64Array:
    """Return all samples in the order of the pool, whatever the budget."""
    return np.arange(len(concept.uids))
