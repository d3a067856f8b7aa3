"""KAKURENBO: hide in each epoch what the model has learned best (Nguyen et al. 2023, arXiv 2310.10102)."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from filtering.core.arguments import NUMBER, check_arguments
from filtering.core.errors import InputError
from filtering.core.uids import hashed
from filtering.samplers.index import Positions, UidIndex
from filtering.samplers.sampler import EpochSampler, Mask, Weights, epoch_seed, plain_vector
from filtering.samplers.samples import KeptSamples
from filtering.samplers.stream import Shown


class Kakurenbo(EpochSampler):
    """Hides the samples of lowest loss that the model is right about and sure of.

    At the start of an epoch the floor(F * n) samples of lowest loss are candidates; a candidate is hidden if, when
    it was last seen, the model was right with at least `confidence`, and else moved back. When the epoch ends, a
    forward pass over the hidden samples (`rescoring_stage`, `unscored`) renews what is known of them. One that was
    hidden and not scored again is shown in the next epoch, since what is known of it is older than the model.

    Parameters
    ----------
    samples : KeptSamples, UidIndex or int
        The pool; an int is a number of samples that are named by their positions.
    fraction : float
        The most that is hidden, F at its maximum, in [0, 1).
    confidence : float
        From which probability of its prediction on the model counts as sure, in [0, 1].
    milestones : sequence of int
        The epochs, ascending and counted from 0, from which each factor of `decay` holds; before the first the
        factor is 1. The default is the paper's for 100 epochs of ImageNet-1K.
    decay : sequence of float
        Factors of `fraction`, in [0, 1].
    seed : int
        Orders samples of equal loss, anew in each epoch: losses that have become 0 would hide the same for ever.

    Raises
    ------
    InputError
        If a setting is outside its range.
    """

    method = "kakurenbo"
    arrays: ClassVar[tuple[str, ...]] = (*EpochSampler.arrays, "sure", "waiting")

    def __init__(
        self,
        samples: KeptSamples | UidIndex | int,
        fraction: float = 0.3,
        confidence: float = 0.7,
        milestones: Sequence[int] = (0, 30, 60, 80),
        decay: Sequence[float] = (1.0, 0.8, 0.6, 0.4),
        seed: int = 0,
    ) -> None:
        _check_settings(fraction, confidence, milestones, decay)
        super().__init__(samples, seed)
        self.fraction, self.confidence = fraction, confidence
        self.milestones, self.decay = tuple(milestones), tuple(decay)
        self.sure: Mask = np.zeros(len(self.index), dtype=bool)
        self.waiting: Mask = np.zeros(len(self.index), dtype=bool)

    def observe(self, samples: Any, losses: Any, right: Any, confidence: Any) -> None:
        """Take what the model made of samples, in training or in the forward pass after it.

        Each argument may be an array, a list or a tensor on any device. Of a sample named twice the last holds.

        Parameters
        ----------
        samples : uids or positions (m,)
            Which samples were seen.
        losses : float (m,)
            Their losses; one that is not finite counts as never seen.
        right : bool (m,)
            Whether the model's prediction was right.
        confidence : float (m,)
            The probability of its prediction, in [0, 1].

        Raises
        ------
        InputError
            If a sample is not of the pool, or the lengths differ.
        """
        positions, values = self._given(samples, losses)
        marks = plain_vector(right, len(positions), "right").astype(bool)
        marks = marks & (plain_vector(confidence, len(positions), "confidence") >= self.confidence)
        self.losses[positions] = values
        self.sure[positions] = marks & ~np.isnan(values)
        self.waiting[positions] = False

    def learning_rate_factor(self, epoch: int) -> float:
        """Return what the learning rate of an epoch is multiplied by.

        Parameters
        ----------
        epoch : int
            Counted from 0; decided by this call if it had not begun.

        Returns
        -------
        float
            1 / (1 - the fraction that is hidden); 1 where everything is.
        """
        shown = int(np.count_nonzero(self.weights(epoch)))
        return len(self.index) / shown if shown else 1.0

    def unscored(self, epoch: int) -> Positions:
        """Return the samples that the epoch hides and that were not yet scored again.

        Parameters
        ----------
        epoch : int
            Counted from 0; decided by this call if it had not begun.

        Returns
        -------
        int64 (m,)
            Their positions, ascending.
        """
        self.weights(epoch)
        return np.flatnonzero(self.waiting)

    def rescoring_stage(self, epoch: int) -> Shown:
        """Return the stage of a webdataset pipeline that lets `unscored` through.

        Parameters
        ----------
        epoch : int
            Counted from 0; decided by this call if it had not begun.

        Returns
        -------
        Shown
            Gives each of them weight 1. Samples that are scored later are still let through.
        """
        self.weights(epoch)
        return Shown(self.index, self.waiting.astype(np.float32))

    def maximum_fraction(self, epoch: int) -> float:
        """Return F of an epoch.

        Parameters
        ----------
        epoch : int
            Counted from 0.

        Returns
        -------
        float
            The most of the pool that the epoch hides: `fraction` times the factor of the last milestone reached.
        """
        begun = sum(milestone <= epoch for milestone in self.milestones)
        return self.fraction * (self.decay[begun - 1] if begun else 1.0)

    def _decide(self, epoch: int) -> Weights:
        hidden = self._lowest(int(self.maximum_fraction(epoch) * len(self.index)), epoch) & self.sure & ~self.waiting
        self.waiting = hidden.copy()
        return np.where(hidden, 0, 1).astype(np.float32)

    def _lowest(self, count: int, epoch: int) -> Mask:
        """Return which `count` samples have the lowest losses, bool (n,); those never seen come last."""
        lowest = np.zeros(len(self.index), dtype=bool)
        if count == 0:
            return lowest
        losses = np.where(np.isnan(self.losses), np.float32(np.inf), self.losses)
        limit = np.partition(losses, count - 1)[count - 1]
        lowest[losses < limit] = True
        equal = np.flatnonzero(losses == limit)
        order = np.argsort(hashed(self.index.uids[equal], epoch_seed(self.seed, epoch)), kind="stable")
        lowest[equal[order[: count - np.count_nonzero(lowest)]]] = True
        return lowest


def _check_settings(fraction: float, confidence: float, milestones: Sequence[int], decay: Sequence[float]) -> None:
    check_arguments(fraction=(fraction, NUMBER), confidence=(confidence, NUMBER))
    if not 0 <= fraction < 1:
        raise InputError(f"fraction must be at least 0 and below 1, not {fraction}")
    if not 0 <= confidence <= 1:
        raise InputError(f"confidence must be in 0 to 1, not {confidence}")
    if len(milestones) != len(decay):
        raise InputError(f"there are {len(milestones)} milestones for {len(decay)} factors of decay")
    if list(milestones) != sorted(milestones):
        raise InputError(f"milestones must ascend, not be {tuple(milestones)}")
    if not all(0 <= factor <= 1 for factor in decay):
        raise InputError(f"factors of decay must be in 0 to 1, not {tuple(decay)}")
