"""Fashion-MNIST as Debian's package dataset-fashion-mnist installs it."""

import gzip
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt

FOLDER = Path("/usr/share/datasets/fashion-mnist")
CLASSES, SIDE = 10, 28
IMAGE_HEADER, LABEL_HEADER = 16, 8


def images(folder: Path, name: str) -> npt.NDArray[np.uint8]:
    """Return the images of `train` or `t10k`, uint8 (n, 28, 28); exits with one line if the file is missing."""
    return _bytes(folder / f"{name}-images-idx3-ubyte.gz", IMAGE_HEADER).reshape(-1, SIDE, SIDE)


def labels(folder: Path, name: str) -> npt.NDArray[np.int64]:
    """Return the classes of `train` or `t10k`, int64 (n,), 0 to 9; exits with one line if the file is missing."""
    return _bytes(folder / f"{name}-labels-idx1-ubyte.gz", LABEL_HEADER).astype(np.int64)


def _bytes(path: Path, header: int) -> npt.NDArray[np.uint8]:
    if not path.is_file():
        sys.exit(f"skipped: {path} is missing (apt-get install dataset-fashion-mnist)")
    with gzip.open(path) as file:
        return np.frombuffer(file.read(), dtype=np.uint8, offset=header)
