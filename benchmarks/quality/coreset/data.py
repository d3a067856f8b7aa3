"""Labelled pictures in memory, Fashion-MNIST or MNIST, and the split that tuning may see."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.lib import fashion_mnist, mnist

Int64Array = npt.NDArray[np.int64]

CLASSES = 10
# The share of the training images that tuning is measured on, and of MNIST that is the test.
VALIDATION, TEST = 0.1, 0.3
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


@dataclass(frozen=True, slots=True)
class Source:
    """A data set: its folder, and what reads the training data or the test's from there."""

    folder: Path
    read: Callable[[Path, bool], Labelled]


def clothes_of(folder: Path, test: bool) -> Labelled:
    """Return the 60,000 training images of Fashion-MNIST, or the 10,000 of the test."""
    name = "t10k" if test else "train"
    return Labelled(fashion_mnist.images(folder, name), fashion_mnist.labels(folder, name))


def mnist_of(folder: Path, test: bool) -> Labelled:
    """Return 7,000 digits of MNIST, or the other 3,000."""
    everything = Labelled(*mnist.pictures(folder))
    return everything.rows(_parted(len(everything), TEST)[int(test)])


def test_split(source: Source) -> Split:
    """Return the training images and those of the test."""
    return Split(source.read(source.folder, False), source.read(source.folder, True))


def validation_split(source: Source) -> Split:
    """Return nine tenths of the training images and the others, without reading the test's."""
    everything = source.read(source.folder, False)
    train, held_out = _parted(len(everything), VALIDATION)
    return Split(everything.rows(train), everything.rows(held_out))


def _parted(count: int, share: float) -> tuple[Int64Array, Int64Array]:
    """Return the rows of a random part and those of the other, a share of all; both ascending."""
    order = np.random.default_rng(SPLIT_SEED).permutation(count)
    taken = round(share * count)
    return np.sort(order[taken:]), np.sort(order[:taken])
