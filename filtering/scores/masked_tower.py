"""A tower whose weights are masked step by step and put back: several capacities of one model in its own memory."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
import torch

from filtering.core.errors import InputError

# Layers that project into the space of image and text, by open_clip's names; its own transformers have none.
HEADS = ("head.", "attnpool.c_proj.", "trunk.head.", "trunk.fc.", "trunk.classifier.")
LAYERS = (torch.nn.Conv1d, torch.nn.Conv2d, torch.nn.Linear)
# Input projections of attention; the output projection is a linear layer.
IN_PROJECTIONS = ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight")
# Weights that get their levels at once: the intermediate results take eight bytes each.
BLOCK = 1 << 22
MOST_EVALUATIONS = int(np.iinfo(np.int16).max)


class MaskedTower:
    """Masks an image tower of open_clip by global, unstructured magnitude (L1), as arXiv 2402.05356 does.

    The weights of convolutions, linear layers and attention's input projections are ordered together, and as many of
    the smallest are set to 0 as a capacity asks for. Biases, norms, embeddings of places and classes and the projection
    head stay. Which weight goes at which capacity is decided once; beside the model that takes two bytes a weight, and
    a copy of the weights, by which they are put back.

    While its capacities (`filtering.scores.dlc.capacities`) are used, nothing else may use the tower, such as
    ``model.visual``. Given a `random_seed`, weights are taken in a random order rather than the smallest first.
    """

    def __init__(
        self, tower: torch.nn.Module, capacities: npt.NDArray[np.float64], random_seed: int | None = None
    ) -> None:
        self.weights = maskable(tower)
        self.evaluations = len(capacities)
        sizes = [weight.numel() for weight in self.weights]
        if random_seed is None:
            importance = _magnitudes(self.weights)
        else:
            importance = np.random.default_rng(random_seed).random(sum(sizes), dtype=np.float32)
        masked = len(importance) - np.rint(capacities * len(importance)).astype(np.int64)
        levels = torch.from_numpy(masked_from(importance, masked))
        pairs = list(zip(self.weights, torch.split(levels, sizes), strict=True))
        self.levels = [level.view(weight.shape).to(weight.device) for weight, level in pairs]
        self.originals = [weight.detach().clone() for weight in self.weights]

    @contextmanager
    def masking(self) -> Iterator[Iterator[int]]:
        """Yield an iterator over the evaluations, which masks before each; all weights are put back at the end."""
        try:
            yield self._evaluations()
        finally:
            with torch.no_grad():
                for weight, original in zip(self.weights, self.originals, strict=True):
                    weight.copy_(original)

    def _evaluations(self) -> Iterator[int]:
        for evaluation in range(self.evaluations):
            with torch.no_grad():
                for weight, level in zip(self.weights, self.levels, strict=True):
                    weight.masked_fill_(level <= evaluation, 0)
            yield evaluation


def maskable(tower: torch.nn.Module) -> list[torch.nn.Parameter]:
    """Return the weights of a tower that are masked, in its own order: see `MaskedTower`."""
    found: dict[int, torch.nn.Parameter] = {}
    for name, module in tower.named_modules():
        if not f"{name}.".startswith(HEADS):
            found.update((id(weight), weight) for weight in _own_weights(module))
    return list(found.values())


def masked_from(importance: npt.NDArray[np.float32], masked: npt.NDArray[np.int64]) -> npt.NDArray[np.int16]:
    """Return the first evaluation at which each weight is masked, int16 (n,), K for a weight that never is.

    `masked`, int64 (K,), ascending, is how many are masked at each evaluation, the least important first; of equally
    important ones the first go first. InputError if there are more than 32,767 evaluations.
    """
    if len(masked) > MOST_EVALUATIONS:
        raise InputError(f"dlc.masks: {len(masked)} is too many; give at most {MOST_EVALUATIONS}")
    ordered = np.sort(importance)
    thresholds = np.array([ordered[count - 1] if count else -np.inf for count in masked], dtype=np.float32)
    levels = np.empty(len(importance), dtype=np.int16)
    for start in range(0, len(importance), BLOCK):
        block = slice(start, start + BLOCK)
        levels[block] = np.searchsorted(thresholds, importance[block])
    # Of the weights that are as large as a threshold some go sooner, some later: their ranks decide.
    for value in np.unique(thresholds[masked > 0]):
        equal = np.flatnonzero(importance == value)
        ranks = np.searchsorted(ordered, value) + np.arange(len(equal))
        levels[equal] = np.searchsorted(masked, ranks, side="right")
    return levels


def _own_weights(module: torch.nn.Module) -> Iterator[torch.nn.Parameter]:
    names = ("weight",) if isinstance(module, LAYERS) else IN_PROJECTIONS
    for name in names:
        weight = getattr(module, name, None)
        if isinstance(weight, torch.nn.Parameter):
            yield weight


def _magnitudes(weights: list[torch.nn.Parameter]) -> npt.NDArray[np.float32]:
    parts = [weight.detach().abs().float().flatten().cpu().numpy() for weight in weights]
    return np.concatenate([np.zeros(0, dtype=np.float32), *parts])
