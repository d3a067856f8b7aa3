"""Fashion-MNIST in memory, and the split that tuning may see."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.lib import fashion_mnist

Int64Array = npt.NDArray[np.int64]

CLASSES = fashion_mnist.CLASSES
# The share of the training images that tuning is measured on.
VALIDATION = 0.1
SPLIT_SEED = 0


@dataclass(frozen=True, slots=True)
class Labelled:
    """Images, uint8 (n, 28, 28), and their classes, int64 (n,)."""

    images: npt.NDArray[np.uint8]
    labels: Int64Array

    def __len__(self) -> int:
        return len(self.labels)

    def rows(self, rows: Int64Array) -> "Labelled":
        """Return some of them."""
        return Labelled(self.images[rows], self.labels[rows])


@dataclass(frozen=True, slots=True)
class Split:
    """The samples that a coreset is chosen from, and those that the network trained on it is measured on."""

    train: Labelled
    held_out: Labelled


def test_split(folder: Path) -> Split:
    """Return the 60,000 training images and the 10,000 of the test."""
    return Split(_read(folder, "train"), _read(folder, "t10k"))


def validation_split(folder: Path) -> Split:
    """Return 54,000 training images and the other 6,000, without reading the test's."""
    everything = _read(folder, "train")
    order = np.random.default_rng(SPLIT_SEED).permutation(len(everything))
    count = round(VALIDATION * len(everything))
    held_out, train = np.sort(order[:count]), np.sort(order[count:])
    return Split(everything.rows(train), everything.rows(held_out))


def _read(folder: Path, name: str) -> Labelled:
    return Labelled(fashion_mnist.images(folder, name), fashion_mnist.labels(folder, name))
