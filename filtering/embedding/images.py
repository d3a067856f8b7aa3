"""Decode untrusted images within bounds, and prepare samples for the towers of a model."""

import contextlib
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from filtering.config.embedding import Embedding
from filtering.config.limits import MAX_PIXELS
from filtering.core.errors import first_line
from filtering.embedding.avif import Refused
from filtering.embedding.essentials import essentials
from filtering.embedding.text_share import without_text
from filtering.shards.faults import Fault

# Decoded images are bounded before they are decoded: by format, declared pixels and declared shape.
MAX_ASPECT = 100.0
# Decoding takes up to 12 bytes a pixel, output included; WebP, which composes frames on two canvases, takes 16, AVIF,
# whose planes, pixels and their copy are there at once, 20.
SHARE_OF_PIXELS = {"WEBP": 12 / 16, "AVIF": 12 / 20}
# A JPEG may be decoded smaller, but not below this many times the side that the model takes: the model's own
# resizing then still does the last step, and the embedding stays within a cosine of 0.999 (at 2, coins did not).
DRAFT_MARGIN = 3
# Modes of Pillow with more than a byte for each channel; and what a TIFF says of them.
SIXTEEN_BITS, WIDE_MODES = "I;16", ("I", "F")
BITS_OF_A_SAMPLE, PHOTOMETRIC, WHITE_IS_ZERO = 258, 262, 0
# A tower reads some tens of tokens: what a longer caption holds beyond this cannot reach it.
TOKENIZED_CHARACTERS = 8192

with contextlib.suppress(ImportError):
    # Of Pillow 11.3 and newer. One thread, as everywhere here: others decode beside this one.
    from PIL import AvifImagePlugin

    AvifImagePlugin.DEFAULT_MAX_THREADS = 1


@dataclass(frozen=True, slots=True)
class Decoded:
    """A decoded image, and the width and height it was stored with."""

    image: Image.Image
    size: tuple[int, int]


def decode_image(data: bytes, max_pixels: int = MAX_PIXELS, draft_side: int = 0) -> Decoded | Fault:
    """Return the image fully decoded, or why it cannot be: nothing is raised for bad bytes.

    An image whose header declares more than `max_pixels` is not decoded; decoding takes at most 12 bytes for each of
    them beside the encoded bytes, twice. A JPEG is decoded at 1/2, 1/4 or 1/8 of its size (by fewer DCT coefficients)
    as long as both sides stay at least `DRAFT_MARGIN` times `draft_side` pixels; 0 decodes every image whole.
    """
    try:
        known = essentials(data, max_pixels)
        image = Image.open(io.BytesIO(known.data), formats=(known.format,))
        size = image.size
        fault = _out_of_bounds(size, int(max_pixels * SHARE_OF_PIXELS.get(known.format, 1)))
        if fault is None:
            if draft_side:
                image.draft(None, (DRAFT_MARGIN * draft_side, DRAFT_MARGIN * draft_side))
            image.load()
    except Refused as refused:
        return refused.fault
    except UnidentifiedImageError:
        # Its message holds the address of a buffer, which would differ from one attempt to the next.
        return Fault("image_undecodable", "its bytes are no image of a known format")
    except Image.DecompressionBombError as error:
        return Fault("image_too_large", first_line(error))
    except Exception as error:
        # Decoders meet hostile bytes with errors of every kind; none of them may end the shard.
        return Fault("image_undecodable", first_line(error))
    return fault or _of_bytes(image, size)


def _of_bytes(image: Image.Image, size: tuple[int, int]) -> Decoded | Fault:
    """Return an image with a byte for each channel: Pillow clips wider values to white where it converts them."""
    if image.mode not in WIDE_MODES and not image.mode.startswith(SIXTEEN_BITS):
        return Decoded(image, size)
    tags = getattr(image, "tag_v2", {})
    bits = tags.get(BITS_OF_A_SAMPLE, (16,))[0] if image.mode.startswith(SIXTEEN_BITS) else 32
    if image.mode == "I" and image.format == "PNG":
        bits = 16  # older versions of Pillow open 16 bits as 32
    if bits > 16:
        return Fault("image_undecodable", f"mode {image.mode}: of 32 bits a pixel, nothing says which value is white")
    grey = (np.asarray(image) >> (bits - 8)).astype(np.uint8)
    return Decoded(Image.fromarray(255 - grey if tags.get(PHOTOMETRIC) == WHITE_IS_ZERO else grey), size)


def _out_of_bounds(size: tuple[int, int], max_pixels: int) -> Fault | None:
    width, height = size
    if width * height > max_pixels:
        return Fault("image_too_large", f"{width} x {height} pixels, at most {max_pixels} are decoded")
    if max(width, height) > MAX_ASPECT * min(width, height):
        return Fault("image_too_narrow", f"{width} x {height} pixels, an aspect above {MAX_ASPECT:.0f}")
    return None


@dataclass(frozen=True, slots=True)
class Preparation:
    """The part of a model's preprocessing that runs on CPUs, to images of `width` by `height` pixels.

    `resize` is open_clip's own transforms up to, and without, the conversion to a tensor: image in, RGB image out.
    `max_pixels` and `draft_side` are those of `decode_image`. Encoders of images alone have no tokenizer.
    """

    resize: Callable[[Any], Any]
    tokenizer: Callable[[list[str]], Any] | None
    width: int
    height: int
    max_pixels: int
    draft_side: int

    def image(self, data: bytes) -> tuple[npt.NDArray[np.uint8], Decoded] | Fault:
        """Return an encoded image as the model takes it, uint8 (height, width, 3), or why it cannot be."""
        decoded = decode_image(data, self.max_pixels, self.draft_side)
        if isinstance(decoded, Fault):
            return decoded
        pixels = self.pixels(decoded)
        return pixels if isinstance(pixels, Fault) else (pixels, decoded)

    def pixels(self, decoded: Decoded) -> npt.NDArray[np.uint8] | Fault:
        """Return a decoded image as the model takes it, uint8 (height, width, 3), or why it cannot be."""
        try:
            return np.asarray(self.resize(decoded.image))
        except Exception as error:
            # Resizing and conversion meet pixels of every mode: what they cannot take is the sample's fault.
            return Fault("image_undecodable", f"cannot be preprocessed: {first_line(error)}")

    def tokens(self, captions: Sequence[str]) -> npt.NDArray[np.int32]:
        """Return the token ids of captions, int32 (n, context length)."""
        assert self.tokenizer is not None, "an encoder of images alone takes no captions"
        ids = self.tokenizer([caption[:TOKENIZED_CHARACTERS] for caption in captions])
        return np.asarray(ids, dtype=np.int32)


@dataclass(frozen=True, slots=True)
class MaskedPreparation:
    """Prepares pictures without their text for the model that another preparation is of."""

    plain: Preparation

    def pixels(self, decoded: Decoded) -> npt.NDArray[np.uint8] | Fault:
        """Return a decoded image as `Preparation.pixels` does, its text covered."""
        try:
            masked = without_text(decoded.image)
        except Exception as error:
            # As in `Preparation.pixels`.
            return Fault("image_undecodable", f"its text cannot be covered: {first_line(error)}")
        return self.plain.pixels(Decoded(masked, decoded.size))


# Preparations besides the model's own: of further encoders by their names, and of masked pictures.
Preparations = Mapping[str, Preparation | MaskedPreparation]


def of_one_decode(main: Preparation, others: Mapping[str, Preparation]) -> Preparation:
    """Return the main model's preparation for images that are decoded once for all: large enough for each."""
    largest = max(one.draft_side for one in (main, *others.values()))
    return replace(main, draft_side=largest)


def draft_side(settings: Embedding, width: int, height: int) -> int:
    """Return the side that draft decoding must leave room for, 0 for exact decoding, which a hash of pixels needs."""
    exact = settings.decoding == "exact" or "pixel_hash" in settings.signals
    return 0 if exact else max(width, height)
