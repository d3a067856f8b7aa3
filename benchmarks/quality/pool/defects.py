"""What pools do to pictures: near-duplicates, and pictures that show nothing."""

import io

import numpy as np
import numpy.typing as npt
from PIL import Image

Uint8 = npt.NDArray[np.uint8]

SHIFT, BRIGHTNESS, QUALITIES = 1, (0.85, 1.1), (60, 90)


def jpeg(pixels: Uint8, quality: int = 92) -> bytes:
    """Encode uint8 (h, w, 3)."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality, subsampling=0)
    return buffer.getvalue()


def near_duplicate(pixels: Uint8, random: np.random.Generator) -> bytes:
    """Shift by a pixel at most, brighten or darken, and compress."""
    shift = random.integers(-SHIFT, SHIFT + 1, 2)
    moved = np.roll(pixels, tuple(shift), axis=(0, 1))
    brighter = np.clip(moved * random.uniform(*BRIGHTNESS), 0, 255).astype(np.uint8)
    return jpeg(brighter, int(random.integers(*QUALITIES)))


def noise(side: int, random: np.random.Generator) -> Uint8:
    """Return static, blots or a blank, uint8 (side, side, 3)."""
    kind = random.integers(3)
    if kind == 2:
        blank = np.full((side, side, 3), random.integers(0, 256, 3), dtype=np.float64)
        return np.clip(blank + random.normal(0, 4, blank.shape), 0, 255).astype(np.uint8)
    cells = side if kind == 0 else 5
    static = Image.fromarray(random.integers(0, 256, (cells, cells, 3), dtype=np.uint8))
    return np.asarray(static.resize((side, side), Image.Resampling.BICUBIC))
