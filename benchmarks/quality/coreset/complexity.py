"""Learning complexity of the scoring network (DLC, arXiv 2402.05356), by the package's formula.

The features of the network, pruned further and further (the smallest weights of all convolutions and linear layers but
the head), are compared with the class means of the whole network's features.
"""

import copy

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn.utils import prune

from benchmarks.quality.coreset.data import Labelled
from benchmarks.quality.coreset.network import Network
from benchmarks.quality.coreset.training import outputs
from filtering.scores.dlc import KEPT_AT_ONCE, Complexity, concept_sums, mean_prototypes

Float32Array = npt.NDArray[np.float32]

CAPACITIES = 50


def learning_complexities(made: Network, data: Labelled) -> Float32Array:
    """Return each sample's mean loss over the capacities, float32 (n,), higher for the hard."""
    # Pruning looks at weights as one vector, which channels last do not allow.
    pruned = copy.deepcopy(made).to(memory_format=torch.contiguous_format)
    weights = [(module, "weight") for module in pruned.body.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    features = outputs(pruned, data)[1]
    prototypes = mean_prototypes([concept_sums(features, data.labels)], data.labels.max() + 1, features.shape[1])
    complexity = Complexity(prototypes, data.labels)
    for _ in range(CAPACITIES):
        complexity.add(features)
        prune.global_unstructured(weights, pruning_method=prune.L1Unstructured, amount=1 - KEPT_AT_ONCE)
        features = outputs(pruned, data)[1]
    return complexity.scores()
