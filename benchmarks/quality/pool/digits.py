"""Handwritten digits as scikit-learn ships them, 8 x 8 pixels by 43 writers, each drawn many times.

From the UCI repository: Optical Recognition of Handwritten Digits (Alpaydin, Kaynak), CC BY 4.0.
"""

import numpy as np
import numpy.typing as npt
from PIL import Image

Uint8 = npt.NDArray[np.uint8]
Int64 = npt.NDArray[np.int64]

# As many drawings as Fashion-MNIST has pictures. Rows come writer by writer: the test's writers are in no other part.
TRAIN, DRAWINGS = 1_500, (40, 33)
LARGEST, GLYPH_SIDE, MOST_ANGLE, MOST_SHIFT, STREAM = 16, 24, 12.0, 3, 10


def drawn_parts(side: int, seed: int) -> tuple[tuple[Uint8, Int64], tuple[Uint8, Int64]]:
    """Return the drawings for training and those for the test, uint8 (n, side, side), with labels, int64 (n,)."""
    from sklearn.datasets import load_digits

    found = load_digits()
    glyphs, labels = (found.images * (255 / LARGEST)).astype(np.uint8), found.target.astype(np.int64)
    random = np.random.default_rng((seed, STREAM))
    parts = zip((slice(TRAIN), slice(TRAIN, None)), DRAWINGS, strict=True)
    train, test = ((_drawn(glyphs[rows], side, each, random), np.repeat(labels[rows], each)) for rows, each in parts)
    return train, test


def _drawn(glyphs: Uint8, side: int, each: int, random: np.random.Generator) -> Uint8:
    return np.stack([_drawing(glyph, side, random) for glyph in glyphs for _ in range(each)])


def _drawing(glyph: Uint8, side: int, random: np.random.Generator) -> Uint8:
    """Draw one turned and shifted, white on black."""
    large = Image.fromarray(glyph).resize((GLYPH_SIDE, GLYPH_SIDE), Image.Resampling.BICUBIC)
    turned = np.asarray(large.rotate(random.uniform(-MOST_ANGLE, MOST_ANGLE), Image.Resampling.BILINEAR))
    page, border = np.zeros((side, side), dtype=np.uint8), (side - GLYPH_SIDE) // 2
    down, across = border + random.integers(-MOST_SHIFT, MOST_SHIFT + 1, 2)
    page[down : down + GLYPH_SIDE, across : across + GLYPH_SIDE] = turned
    return page
