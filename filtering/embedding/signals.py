"""Signals of a picture, computed while it is decoded: hashes, brightness, blur, entropy."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.fftpack
from PIL import Image, ImageFilter, ImageStat

from filtering.core.errors import first_line
from filtering.embedding.text_share import text_share
from filtering.shards.faults import Fault

# By column of `schemas.SIGNALS`.
Measured = Mapping[str, int | float]
# All but the hash of pixels is computed from a copy that is reduced, by a whole factor, to at most this many pixels a
# side; blur, as CleanVision has it, from one of at most so many.
REDUCED_SIDE, BLUR_SIDE = 256, 64
# Of the perceptual hash: the side of the picture, and that of its lowest frequencies.
HASHED_SIDE, FREQUENCIES = 32, 8
# Pixels that are hashed at once, 4 bytes each.
STRIP_PIXELS = 1 << 20
# CleanVision's: the weights of red, green and blue, and the percentiles of brightness that tell dark and light ones.
LUMA = np.array([0.241, 0.691, 0.068], dtype=np.float32)
BRIGHTEST, DARKEST = 99, 5
# CleanVision's: what an entropy is multiplied by, what edges and histograms are, and the least score of a histogram.
ENTROPY_FACTOR, BLUR_FACTOR, LEAST_SPREAD = 0.1, 0.01, 0.18


@dataclass(frozen=True, slots=True)
class _Picture:
    """A decoded picture, and a reduced copy of it in grey or RGB."""

    whole: Image.Image
    reduced: Image.Image


def measured(image: Image.Image, signals: Sequence[str]) -> Measured | Fault:
    """Return some signals of a decoded picture, by column, or why they cannot be computed."""
    if not signals:
        return {}
    try:
        picture, found = _Picture(image, _reduced(image)), dict[str, int | float]()
        for name in signals:
            # What takes the model is computed with the vectors.
            found |= SIGNALS[name](picture) if name in SIGNALS else {}
    except Exception as error:
        # Conversion meets pixels of every mode: what cannot be converted is the sample's fault.
        return Fault("image_undecodable", f"cannot be measured: {first_line(error)}")
    return found


def perceptual_hash(image: Image.Image) -> int:
    """Return 64 bits that similar pictures share but for a few: which low frequencies are above their median.

    The same bits as imagehash.phash (hash size 8), the first of them the most significant.
    """
    grey = image.convert("L").resize((HASHED_SIDE, HASHED_SIDE), Image.Resampling.LANCZOS)
    frequencies = scipy.fftpack.dct(scipy.fftpack.dct(np.asarray(grey), axis=0), axis=1)
    low = frequencies[:FREQUENCIES, :FREQUENCIES]
    return int.from_bytes(np.packbits(low > np.median(low)).tobytes(), "big")


def pixel_hash(image: Image.Image) -> int:
    """Return a number below 2^64 that tells a picture's pixels, as RGBA, and its size from others."""
    width, height = image.size
    found = hashlib.blake2b(f"{width} {height}".encode(), digest_size=8)
    rows = max(1, STRIP_PIXELS // width)
    for top in range(0, height, rows):
        strip = image.crop((0, top, width, min(top + rows, height)))
        found.update(strip.convert("RGBA").tobytes())
    return int.from_bytes(found.digest(), "little")


def blur_score(image: Image.Image) -> float:
    """Return CleanVision's score of blur, 0 to 1, low for blurred pictures: by edges and the spread of grey values."""
    ratio = max(image.size) / BLUR_SIDE
    if ratio > 1:
        image = image.resize((max(int(image.width // ratio), 1), max(int(image.height // ratio), 1)))
    grey = image.convert("L")
    edges = float(np.sqrt(ImageStat.Stat(grey.filter(ImageFilter.FIND_EDGES)).var[0]))
    spread = 1 - np.exp(-BLUR_FACTOR * np.std(grey.histogram()))
    return float(min(1 - np.exp(-BLUR_FACTOR * edges) + (spread if spread > LEAST_SPREAD else 0), 1))


def brightness(colours: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return the brightness of some colours, grey (n, 1) or RGB (n, 3), as CleanVision has it: float32 (n,), 0 to 1."""
    found = np.sqrt(np.square(colours) @ LUMA) if colours.shape[1] == 3 else colours[:, 0]
    return np.asarray(found / np.float32(255), dtype=np.float32)


def entropy_score(image: Image.Image) -> float:
    """Return a tenth of the entropy of a picture's values in bits, at most 1: CleanVision's score of information."""
    return float(min(ENTROPY_FACTOR * image.entropy(), 1))


def _luminance(picture: _Picture) -> Measured:
    pixels = np.asarray(picture.reduced, dtype=np.float32).reshape(-1, len(picture.reduced.getbands()))
    dark, light = np.percentile(brightness(pixels), [BRIGHTEST, DARKEST]).tolist()
    mean = brightness(pixels.mean(axis=0, keepdims=True))[0]
    return {"luminance": float(mean), "dark": dark, "light": 1 - light}


def _reduced(image: Image.Image) -> Image.Image:
    plain = image if image.mode in ("L", "RGB") else image.convert("L" if image.mode in ("1", "LA") else "RGB")
    factor = -(-max(plain.size) // REDUCED_SIDE)
    return plain.reduce(factor) if factor > 1 else plain


SIGNALS: Mapping[str, Callable[[_Picture], Measured]] = {
    "phash": lambda picture: {"phash": perceptual_hash(picture.reduced)},
    "pixel_hash": lambda picture: {"pixel_hash": pixel_hash(picture.whole)},
    "blur": lambda picture: {"blur": blur_score(picture.reduced)},
    "luminance": _luminance,
    "entropy": lambda picture: {"entropy": entropy_score(picture.reduced)},
    "text_share": lambda picture: {"text_share": text_share(picture.whole)},
}
