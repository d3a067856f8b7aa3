"""Decode untrusted images within bounds."""

import io
from dataclasses import dataclass

from PIL import Image, UnidentifiedImageError

from filtering.config.limits import MAX_PIXELS
from filtering.core.errors import first_line
from filtering.embedding.essentials import Refused, essentials
from filtering.shards.faults import Fault

# Decoded images are bounded before they are decoded: by format, declared pixels and declared shape.
MAX_ASPECT = 100.0
# Decoding takes up to 12 bytes a pixel, output included; WebP, which composes frames on two canvases, takes 16.
SHARE_OF_PIXELS = {"WEBP": 12 / 16}
# A JPEG may be decoded smaller, but not below this many times the side that the model takes: the model's own
# resizing then still does the last step, and the embedding stays within a cosine of 0.999 (at 2, coins did not).
DRAFT_MARGIN = 3


@dataclass(frozen=True, slots=True)
class Decoded:
    """A decoded image, and the width and height it was stored with."""

    image: Image.Image
    size: tuple[int, int]


def decode_image(data: bytes, max_pixels: int = MAX_PIXELS, draft_side: int = 0) -> Decoded | Fault:
    """Return the image fully decoded, or why it cannot be: nothing is raised for bad bytes.

    Parameters
    ----------
    data : bytes
        An encoded image; its format is told by its content, not by a name.
    max_pixels : int
        Pixels; an image whose header declares more is not decoded. Decoding takes at most 12 bytes for each of them
        beside the encoded bytes, twice.
    draft_side : int
        Pixels; a JPEG is decoded at 1/2, 1/4 or 1/8 of its size (by fewer DCT coefficients) as long as both sides
        stay at least `DRAFT_MARGIN` times this. 0 decodes every image whole.
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
    return fault or Decoded(image, size)


def _out_of_bounds(size: tuple[int, int], max_pixels: int) -> Fault | None:
    width, height = size
    if width * height > max_pixels:
        return Fault("image_too_large", f"{width} x {height} pixels, at most {max_pixels} are decoded")
    if max(width, height) > MAX_ASPECT * min(width, height):
        return Fault("image_too_narrow", f"{width} x {height} pixels, an aspect above {MAX_ASPECT:.0f}")
    return None
