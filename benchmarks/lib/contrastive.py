"""CLIP's loss, and a learning rate that warms up and falls to zero."""

import math

import torch
from torch import Tensor
from torch.nn import functional


def contrastive_loss(logits: Tensor) -> Tensor:
    """Return the symmetric cross entropy of scaled cosines (n, n), matching pairs on the diagonal."""
    target = torch.arange(len(logits))
    return (functional.cross_entropy(logits, target) + functional.cross_entropy(logits.T, target)) / 2


def warm_cosine(step: int, steps: int, warm_up: int) -> float:
    """Return the share of the peak rate at a step: half a cosine, scaled linearly during the warm-up."""
    warm = min(1.0, (step + 1) / warm_up)
    return warm * 0.5 * (1 + math.cos(math.pi * min(step / steps, 1)))
