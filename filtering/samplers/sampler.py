"""What the methods share: a loss for each sample, weights that are fixed when an epoch begins, a state to save."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch

from filtering.core.arguments import WHOLE, Kind, check_arguments
from filtering.core.errors import InputError
from filtering.samplers.index import Positions, UidIndex
from filtering.samplers.samples import KeptSamples
from filtering.samplers.stream import Shown

NOT_BEGUN = -1
SAMPLES = Kind(
    "kept samples, a UidIndex or a number of samples", lambda value: isinstance(value, KeptSamples | UidIndex | int)
)

Weights = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]


class EpochSampler(ABC):
    """Decides for every epoch which samples of a pool are shown, from the losses observed before.

    An epoch is decided when it is first asked for, and stays so while losses come in; epochs are asked for in
    ascending order. What is decided depends on the losses, the seed and the epoch alone: ranks that observed the same
    losses decide the same.

    Parameters
    ----------
    samples : KeptSamples, UidIndex or int
        The pool; an int is a number of samples that are named by their positions.
    seed : int
        What chance there is in an epoch follows from it and the epoch.

    Attributes
    ----------
    index : UidIndex
    losses : float32 (n,), the last loss observed of each sample, NaN where none was or it was not finite
    epoch : the last epoch that was decided, -1 before the first
    decided : float32 (n,), the weights of that epoch
    """

    method: ClassVar[str]
    arrays: ClassVar[tuple[str, ...]] = ("losses", "decided")

    def __init__(self, samples: KeptSamples | UidIndex | int, seed: int) -> None:
        check_arguments(samples=(samples, SAMPLES), seed=(seed, WHOLE))
        if isinstance(samples, int):
            samples = UidIndex.numbered(samples)
        self.index = samples.index if isinstance(samples, KeptSamples) else samples
        self.seed = seed
        self.epoch = NOT_BEGUN
        self.losses = np.full(len(self.index), np.nan, dtype=np.float32)
        self.decided: Weights = np.ones(len(self.index), dtype=np.float32)

    @abstractmethod
    def _decide(self, epoch: int) -> Weights:
        """Return the weights of an epoch that begins, a new float32 (n,), 0 for the hidden."""

    def weights(self, epoch: int) -> Weights:
        """Return the weights of an epoch's losses; the epoch is decided if it had not begun.

        Parameters
        ----------
        epoch : int
            Counted from 0.

        Returns
        -------
        float32 (n,)
            By position, read-only; 0 for the samples that are hidden.

        Raises
        ------
        InputError
            If a later epoch has begun, or the epoch is below 0.
        """
        check_arguments(epoch=(epoch, WHOLE))
        if epoch < 0:
            raise InputError(f"epochs are counted from 0, so there is no epoch {epoch}")
        if epoch < self.epoch:
            raise InputError(f"epoch {epoch} cannot be decided again, epoch {self.epoch} has begun")
        if epoch > self.epoch:
            self.decided = self._decide(epoch)
            self.epoch = epoch
        weights = self.decided.view()
        weights.flags.writeable = False
        return weights

    def hidden_mask(self, epoch: int) -> Mask:
        """Return which samples an epoch hides; errors as of `weights`.

        Parameters
        ----------
        epoch : int
            Counted from 0.

        Returns
        -------
        bool (n,)
            By position.
        """
        return np.asarray(self.weights(epoch) == 0, dtype=bool)

    def stage(self, epoch: int) -> Shown:
        """Return the stage of a webdataset pipeline that lets an epoch's samples through; errors as of `weights`.

        Parameters
        ----------
        epoch : int
            Counted from 0.

        Returns
        -------
        Shown
            Gives each sample its position and its weight.
        """
        return Shown(self.index, self.weights(epoch))

    def state_dict(self) -> dict[str, torch.Tensor | int | str]:
        """Return everything the sampler knows, as tensors, ints and a str.

        Tensors, because `torch.load` reads no numpy array unless it is told to trust the file; `numpy.savez` takes
        them as the arrays they are, and `load_state_dict` takes what comes back of either.

        Returns
        -------
        dict
            `method`, `pool` (a fingerprint of its uids), `epoch`, and a tensor (n,) for each of the class's `arrays`.
        """
        arrays = {name: torch.tensor(getattr(self, name)) for name in self.arrays}
        return {"method": self.method, "pool": self.index.fingerprint, "epoch": self.epoch, **arrays}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up a state that `state_dict` gave; settings and seed remain those of this sampler.

        Parameters
        ----------
        state : mapping
            As `state_dict` returned it, or as `torch.load` or `numpy.load` read it.

        Raises
        ------
        InputError
            If the state is of another method or another pool, or lacks something. Nothing is changed then.
        """
        plain = {name: plain_array(value) for name, value in state.items()}
        missing = {"method", "pool", "epoch", *self.arrays} - plain.keys()
        if missing and str(plain.get("method", self.method)) == self.method:
            raise InputError(f"the state is not one of {self.method}: it lacks {', '.join(sorted(missing))}")
        self._check(plain)
        self.epoch = int(plain["epoch"])
        for name in self.arrays:
            setattr(self, name, plain[name].astype(getattr(self, name).dtype))

    def _check(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        if str(state["method"]) != self.method:
            raise InputError(f"the state is one of {state['method']}, not of {self.method}")
        for name in ("pool", "epoch"):
            if state[name].shape != () or state[name].dtype.kind not in "iu":
                raise InputError(f"the state is not one of {self.method}: its {name} is no whole number")
        if int(state["epoch"]) < NOT_BEGUN:
            raise InputError(f"the state is not one of {self.method}: its epoch is {int(state['epoch'])}")
        for name in self.arrays:
            if state[name].dtype.kind not in "fiub":
                raise InputError(f"the state is not one of {self.method}: its {name} are no numbers")
        shapes = {state[name].shape for name in self.arrays} | {self.losses.shape}
        if int(state["pool"]) != self.index.fingerprint or len(shapes) != 1:
            size = state["losses"].size
            raise InputError(f"the state is of another pool: of {size} samples, here are {len(self.index)} others")

    def _given(self, names: Any, losses: Any) -> tuple[Positions, npt.NDArray[np.float32]]:
        """Return the positions and losses, checked, of samples that were observed; NaN for what is not finite."""
        positions = self.index.positions(plain_array(names))
        # What single precision cannot hold becomes infinite, and so unknown.
        with np.errstate(over="ignore"):
            values = plain_vector(losses, len(positions), "losses").astype(np.float32)
        return positions, np.where(np.isfinite(values), values, np.float32(np.nan))


def plain_array(values: Any) -> npt.NDArray[Any]:
    """Return what a loop has at hand as an array: a tensor on any device, with or without gradient, or a list."""
    if not isinstance(values, torch.Tensor):
        return np.asarray(values)
    values = values.detach().cpu()
    # numpy has no bfloat16.
    array: npt.NDArray[Any] = (values.float() if values.is_floating_point() else values).numpy()
    return array


def plain_vector(values: Any, length: int, name: str) -> npt.NDArray[Any]:
    """Return values as an array (length,); InputError if there are more or fewer."""
    array = plain_array(values).reshape(-1)
    if len(array) != length:
        raise InputError(f"{length} samples were named, but {len(array)} {name} given")
    return array


def epoch_seed(seed: int, epoch: int) -> int:
    """Return 64 bits that a seed and an epoch decide."""
    return int.from_bytes(hashlib.blake2b(f"{seed}/{epoch}".encode(), digest_size=8).digest())
