"""Fashion-MNIST in memory, from Debian's package dataset-fashion-mnist, and the split that tuning may see."""

import gzip
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

Int64Array = npt.NDArray[np.int64]

FOLDER = Path("/usr/share/datasets/fashion-mnist")
CLASSES, SIDE = 10, 28
IMAGE_HEADER, LABEL_HEADER = 16, 8
VALIDATION = 6_000
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
    """What a coreset is chosen from, and what the network trained on it is measured on."""

    train: Labelled
    held_out: Labelled


def test_split(folder: Path = FOLDER) -> Split:
    """Return the 60,000 training images and the 10,000 of the test."""
    return Split(_read(folder, "train"), _read(folder, "t10k"))


def validation_split(folder: Path = FOLDER) -> Split:
    """Return 54,000 training images and the other 6,000: the test's are not read."""
    everything = _read(folder, "train")
    order = np.random.default_rng(SPLIT_SEED).permutation(len(everything))
    held_out, train = np.sort(order[:VALIDATION]), np.sort(order[VALIDATION:])
    return Split(everything.rows(train), everything.rows(held_out))


def _read(folder: Path, name: str) -> Labelled:
    images = _bytes(folder / f"{name}-images-idx3-ubyte.gz", IMAGE_HEADER).reshape(-1, SIDE, SIDE)
    return Labelled(images, _bytes(folder / f"{name}-labels-idx1-ubyte.gz", LABEL_HEADER).astype(np.int64))


def _bytes(path: Path, header: int) -> npt.NDArray[np.uint8]:
    if not path.is_file():
        sys.exit(f"skipped: {path} is not there (apt-get install dataset-fashion-mnist)")
    with gzip.open(path) as file:
        return np.frombuffer(file.read(), dtype=np.uint8, offset=header)
