"""The selectors: the samples of one concept and a budget in, picks in order out."""

import numpy as np

from filtering.config import Selection
from filtering.graph.csr import Int64Array
from filtering.selection.concept import ConceptSamples
from filtering.selection.d2 import forward_messages, greedy_picks
from filtering.uids import random_order


def d2_coreset(concept: ConceptSamples, budget: int, settings: Selection) -> Int64Array:
    """D2 Pruning: forward messages over all edges of the graph, reverse messages inside the concept."""
    messages = forward_messages(concept.graph, concept.scores, settings.gamma_forward)
    weights = np.exp(-settings.gamma_forward * concept.border_distances.astype(np.float64))
    np.add.at(messages, concept.border_rows, weights * concept.border_scores)
    return greedy_picks(concept.graph, messages, budget, settings.gamma_reverse)


def top_scores(concept: ConceptSamples, budget: int, settings: Selection) -> Int64Array:
    """Return the highest scores, equal ones in the order of uids."""
    return np.argsort(-concept.scores, kind="stable")[:budget]


def random_choice(concept: ConceptSamples, budget: int, settings: Selection) -> Int64Array:
    """Return a random choice that depends on the uids and the seed alone."""
    return random_order(concept.uids, settings.seed)[:budget]
