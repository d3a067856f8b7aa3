"""One scoring run on everything a coreset is chosen from: training dynamics and the last network's features.

- EL2N (Paul et al. 2021): the norm of the softmax's error, over the looks of the early epochs;
- forgetting (Toneva et al. 2019): how often a sample that was right is wrong at the next look; one that never was right
  counts as forgotten at every look;
- AUM (Pleiss et al. 2020, on probabilities as in CCS): the margin of the true class, mean over all looks, in -1..1.

A look is every sample through the network as in use, several an epoch.
"""

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from benchmarks.quality.coreset.complexity import learning_complexities
from benchmarks.quality.coreset.data import Int64Array, Labelled
from benchmarks.quality.coreset.network import Network, network
from benchmarks.quality.coreset.training import Schedule, device, outputs, trained

Float32Array = npt.NDArray[np.float32]

EPOCHS, EARLY_EPOCHS, LOOKS = 10, 4, 2
SEED = 1_000
NETWORK, COMPLEXITY = "network.pt", "dlc.npy"


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """What the scoring run says of n samples.

    Attributes
    ----------
    el2n, forgetting, aum : float32 (n,); AUM is higher for the easy, the others for the hard.
    features : float32 (n, d), before the head, not normalised.
    probabilities : float32 (looks, n, CLASSES), what each look says.
    """

    el2n: Float32Array
    forgetting: Float32Array
    aum: Float32Array
    features: Float32Array
    probabilities: Float32Array


def scores_of(data: Labelled, folder: Path) -> Scores:
    """Return the scores that are cached in a folder; make them, and the network, where there are none."""
    path = folder / "scores.npz"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        made, scores = _scored(data)
        torch.save(made.state_dict(), folder / NETWORK)
        np.savez(path, **{field.name: getattr(scores, field.name) for field in fields(Scores)})
    with np.load(path) as stored:
        return Scores(**{field.name: stored[field.name] for field in fields(Scores)})


def complexities_of(data: Labelled, folder: Path) -> Float32Array:
    """Return the learning complexities that are cached in a folder, float32 (n,); make them where there are none."""
    path = folder / COMPLEXITY
    if not path.is_file():
        made = network(device())
        made.load_state_dict(torch.load(folder / NETWORK))
        np.save(path, learning_complexities(made.eval(), data))
    found: Float32Array = np.load(path)
    return found


def _scored(data: Labelled) -> tuple[Network, Scores]:
    dynamics = _Dynamics(data)
    schedule = Schedule(EPOCHS * len(data) // Schedule().batch)
    made = trained(data, schedule, SEED, dynamics.look, LOOKS)
    return made, Scores(*dynamics.scores(), outputs(made, data)[1], np.stack(dynamics.probabilities))


class _Dynamics:
    """The looks, and sums over them."""

    def __init__(self, data: Labelled) -> None:
        self.probabilities: list[Float32Array] = []
        self._data, self._looks = data, 0
        self._errors, self._margins = np.zeros(len(data)), np.zeros(len(data))
        self._forgotten = np.zeros(len(data))
        self._right, self._ever = np.zeros(len(data), bool), np.zeros(len(data), bool)

    def look(self, made: Network) -> None:
        """Add what the network says now."""
        logits, _ = outputs(made, self._data)
        probabilities = _softmax(logits)
        self.probabilities.append(probabilities)
        self._looks += 1
        if self._looks <= EARLY_EPOCHS * LOOKS:
            self._errors += _error_norms(probabilities, self._data.labels)
        self._margins += _margins(probabilities, self._data.labels)
        right = logits.argmax(axis=1) == self._data.labels
        self._forgotten += self._right & ~right
        self._right, self._ever = right, self._ever | right

    def scores(self) -> tuple[Float32Array, Float32Array, Float32Array]:
        """Return EL2N, forgetting and AUM, float32 (n,)."""
        forgotten = np.where(self._ever, self._forgotten, self._looks)
        early = min(self._looks, EARLY_EPOCHS * LOOKS)
        sums = (self._errors / early, forgotten, self._margins / self._looks)
        return sums[0].astype(np.float32), sums[1].astype(np.float32), sums[2].astype(np.float32)


def _softmax(logits: Float32Array) -> Float32Array:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: Float32Array = powers / powers.sum(axis=1, keepdims=True)
    return shares


def _error_norms(probabilities: Float32Array, labels: Int64Array) -> Float32Array:
    errors = probabilities.copy()
    errors[np.arange(len(labels)), labels] -= 1
    norms: Float32Array = np.linalg.norm(errors, axis=1)
    return norms


def _margins(probabilities: Float32Array, labels: Int64Array) -> Float32Array:
    rows, others = np.arange(len(labels)), probabilities.copy()
    own = others[rows, labels]
    others[rows, labels] = -np.inf
    margins: Float32Array = own - others.max(axis=1)
    return margins
