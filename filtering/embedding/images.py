"""Decode untrusted images within bounds."""

import io

from PIL import Image, UnidentifiedImageError

from filtering.shards.tar import Fault

# What is decoded is bounded before it is decoded: by format, then by the size the header declares.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
MAX_PIXELS = 64_000_000
MAX_ASPECT = 100.0


def decode_image(data: bytes) -> Image.Image | Fault:
    """Return the image fully decoded, or why it cannot be: nothing is raised for bad bytes.

    Parameters
    ----------
    data : bytes
        An encoded image; its format is told by its content, not by a name.
    """
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
        fault = _out_of_bounds(image)
        if fault is None:
            image.load()
    except UnidentifiedImageError:
        # Its message holds the address of a buffer, which would differ from one attempt to the next.
        return Fault("image_undecodable", "its bytes are no image of a known format")
    except Image.DecompressionBombError as error:
        return Fault("image_too_large", first_line(error))
    except Exception as error:
        # Decoders meet hostile bytes with errors of every kind; none of them may end the shard.
        return Fault("image_undecodable", first_line(error))
    return fault or image


def first_line(error: Exception) -> str:
    """Return the first line of an error's message, at most 200 characters."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


def _out_of_bounds(image: Image.Image) -> Fault | None:
    width, height = image.size
    if width * height > MAX_PIXELS:
        return Fault("image_too_large", f"{width} x {height} pixels, at most {MAX_PIXELS} are decoded")
    if max(width, height) > MAX_ASPECT * min(width, height):
        return Fault("image_too_narrow", f"{width} x {height} pixels, an aspect above {MAX_ASPECT:.0f}")
    return None
