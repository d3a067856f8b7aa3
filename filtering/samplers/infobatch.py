"""InfoBatch: drop some of what is learned, and weight the rest of it up (Qin et al. 2023, arXiv 2303.04947)."""

from typing import Any

import numpy as np

from filtering.core.arguments import NUMBER, WHOLE, check_arguments
from filtering.core.errors import InputError
from filtering.core.uids import sampled
from filtering.samplers.index import UidIndex
from filtering.samplers.sampler import EpochSampler, Weights, epoch_seed
from filtering.samplers.samples import KeptSamples


class InfoBatch(EpochSampler):
    """Drops each sample whose loss is below the mean with probability r; the survivors below it weigh 1 / (1 - r).

    The loss of a sample is the last one observed, in this epoch or one before. The expected gradient is that of all
    samples, `sum over the shown of weight * gradient`; with `(weight * losses).mean()` over batches of one size,
    an epoch's steps sum up to those of a whole epoch. The last epochs, from `delta` of all of them, show everything.

    A sample never seen (all of them in epoch 0) is neither dropped nor part of the mean.

    Parameters
    ----------
    samples : KeptSamples, UidIndex or int
        The pool; an int is a number of samples that are named by their positions.
    epochs : int
        How many epochs the training has; 1 or more.
    ratio : float
        Probability r of being dropped, in [0, 1).
    delta : float
        The part of the training that drops, in [0, 1]: epoch e, counted from 0, drops if e < delta * epochs.
    seed : int
        With the epoch and its uid it decides whether a sample is dropped.

    Raises
    ------
    InputError
        If a setting is outside its range.
    """

    method = "infobatch"

    def __init__(
        self,
        samples: KeptSamples | UidIndex | int,
        epochs: int,
        ratio: float = 0.5,
        delta: float = 0.875,
        seed: int = 0,
    ) -> None:
        check_arguments(epochs=(epochs, WHOLE), ratio=(ratio, NUMBER), delta=(delta, NUMBER))
        if epochs < 1:
            raise InputError(f"epochs must be 1 or more, not {epochs}")
        if not 0 <= ratio < 1:
            raise InputError(f"ratio must be at least 0 and below 1, not {ratio}")
        if not 0 <= delta <= 1:
            raise InputError(f"delta must be in 0 to 1, not {delta}")
        super().__init__(samples, seed)
        self.epochs, self.ratio, self.delta = epochs, ratio, delta

    def observe(self, samples: Any, losses: Any) -> None:
        """Take the losses of samples, unweighted.

        Each argument may be an array, a list or a tensor on any device. Of a sample named twice the last holds.

        Parameters
        ----------
        samples : uids or positions (m,)
            Which samples were seen.
        losses : float (m,)
            Their losses; one that is not finite counts as never seen.

        Raises
        ------
        InputError
            If a sample is not of the pool, or the lengths differ.
        """
        positions, values = self._given(samples, losses)
        self.losses[positions] = values

    def _decide(self, epoch: int) -> Weights:
        weights = np.ones(len(self.index), dtype=np.float32)
        seen = self.losses[~np.isnan(self.losses)]
        if epoch >= self.delta * self.epochs or len(seen) == 0:
            return weights
        below = np.flatnonzero(self.losses < seen.mean(dtype=np.float64))
        dropped = sampled(self.index.uids[below], self.ratio, epoch_seed(self.seed, epoch))
        weights[below] = np.where(dropped, 0, 1 / (1 - self.ratio))
        return weights
