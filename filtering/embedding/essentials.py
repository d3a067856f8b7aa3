"""Cut an encoded image down to the bytes that decide its pixels, before any decoder sees it.

Decoders walk metadata in Python, copy it, and believe its counts: an EXIF block, a text chunk or a comment of a few
megabytes can cost minutes or gigabytes. Nothing here needs any of it, so none is passed on; what remains is bounded.
"""

import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from PIL import features

from filtering.embedding.avif import Refused, avif, brands
from filtering.shards.names import UNDECODED

# Parts (segments, chunks, blocks, tags) that an image may have: far above what encoders write.
MAX_PARTS = 100_000
# Pixels times scans of a progressive JPEG: every scan costs a pass over the whole picture. 15 scans of 64 megapixels.
MAX_SCANNED_PIXELS = 1_000_000_000
# Run-length coded BMP is decoded byte by byte, in Python.
MAX_RUN_LENGTH_PIXELS = 4_000_000
# Values of one TIFF tag, such as the offsets of its strips.
MAX_TAG_VALUES = 65_536


@dataclass(frozen=True, slots=True)
class Essentials:
    """What a decoder is given: Pillow's name of the format, and bytes of it."""

    format: str
    data: bytes


def essentials(data: bytes, max_pixels: int) -> Essentials:
    """Return an image's format, told by its first bytes, and the image without what does not decide its pixels.

    A TIFF's tile may have `max_pixels`. Refused if the bytes are no image of a known format, end too early, or would
    take out of proportion long to decode.
    """
    found = next((one for one in FORMATS if one[1].match(data)), None)
    if found is None:
        raise Refused("image_undecodable", _of_what_format(data))
    try:
        return Essentials(found[0], found[2](data, max_pixels))
    except (struct.error, IndexError, ValueError):
        raise Refused("image_undecodable", "it ends before its pixels do") from None


def _of_what_format(data: bytes) -> str:
    name = next((name for name, beginning in OTHERS if beginning.match(data)), "")
    if data[4:8] == b"ftyp" and brands(data) & HEIF_BRANDS:
        name = UNDECODED["heic"]
    return f"its bytes are {name}, which is not decoded" if name else "its bytes are no image of a known format"


def _avif(data: bytes, max_pixels: int) -> bytes:
    if not brands(data) & AVIF_BRANDS:
        raise Refused("image_undecodable", _of_what_format(data))
    if not features.check("avif"):
        raise Refused("image_undecodable", "its bytes are AVIF, which needs Pillow 11.3 or newer")
    return avif(data, max_pixels)


def _too_complex(detail: str) -> Refused:
    return Refused("image_too_complex", detail)


def _counted(limit: int = MAX_PARTS) -> Iterator[int]:
    yield from range(limit)
    raise _too_complex(f"more than {limit} parts")


def _jpeg(data: bytes, max_pixels: int) -> bytes:
    """Keep the segments that libjpeg needs: of the applications' only JFIF's and Adobe's, which set the colours."""
    kept, at, pixels = [data[:2]], 2, 0
    for _ in _counted():
        at = data.index(b"\xff", at) + 1
        marker = data[at]
        if marker in JPEG_BARE:
            continue
        if marker < 0xC0:
            raise Refused("image_undecodable", f"no JPEG marker: {marker}")
        end = at + 1 + struct.unpack_from(">H", data, at + 1)[0]
        if marker in JPEG_FRAMES:
            height, width = struct.unpack_from(">HH", data, at + 4)
            pixels = max(pixels, height * width)
        if marker == JPEG_SCAN:
            break
        if marker not in JPEG_DROPPED:
            kept.append(data[at - 1 : end])
        at = max(end, at + 1)
    _check_scans(data, at - 1, pixels)
    return b"".join([*kept, data[at - 1 :]])


def _check_scans(data: bytes, start: int, pixels: int) -> None:
    # The count is cheap but takes in what follows the picture; only where it is high are the scans walked through.
    if data.count(b"\xff\xda", start) * pixels <= MAX_SCANNED_PIXELS:
        return
    scans, at = 0, start
    for marker, _ in zip(JPEG_IN_SCAN.finditer(data, start), _counted(), strict=False):
        if marker.start() < at:
            continue
        kind = data[marker.start() + 1]
        if kind == JPEG_END:
            break
        scans += kind == JPEG_SCAN
        if scans * pixels > MAX_SCANNED_PIXELS:
            raise _too_complex(f"more than {scans - 1} scans over {pixels} pixels")
        at = marker.end() + struct.unpack_from(">H", data, marker.end())[0]


def _png(data: bytes, max_pixels: int) -> bytes:
    """Keep header, palette, transparency and pixels, of an animation the default image."""
    kept, at = [data[:8]], 8
    for _ in _counted():
        if at >= len(data):
            break
        (length,), kind = struct.unpack_from(">I", data, at), data[at + 4 : at + 8]
        if kind in PNG_KEPT:
            kept.append(data[at : at + 12 + length])
        if kind == b"IEND":
            break
        at += 12 + length
    return b"".join(kept)


def _webp(data: bytes, max_pixels: int) -> bytes:
    """Keep the canvas, alpha and pixels, of an animation the first frame."""
    kept, at = list[bytes](), 12
    for _ in _counted():
        if at + 8 > len(data):
            break
        kind, length = data[at : at + 4], struct.unpack_from("<I", data, at + 4)[0]
        if kind in WEBP_KEPT:
            kept.append(data[at : at + 8 + length + length % 2])
        if kind in WEBP_PIXELS:
            break
        at += 8 + length + length % 2
    body = b"".join(kept)
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body


def _gif(data: bytes, max_pixels: int) -> bytes:
    """Keep the screen, its palette, and the first picture with its own control block."""
    flags = data[10]
    at = 13 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
    head, control = data[:at], b""
    parts = _counted()
    while data[at] != GIF_PICTURE:
        next(parts)
        if data[at] != GIF_EXTENSION:
            raise Refused("image_undecodable", f"no GIF block: {data[at]}")
        start, at = at, at + 2
        while length := data[at]:
            at += 1 + length
            next(parts)
        at += 1
        if data[start + 1] == GIF_CONTROL:
            control = data[start:at]
    return head + control + data[at:]


def _bmp(data: bytes, max_pixels: int) -> bytes:
    if struct.unpack_from("<I", data, 14)[0] >= 40:
        width, height = struct.unpack_from("<ii", data, 18)
        compression = struct.unpack_from("<I", data, 30)[0]
        if compression in BMP_RUN_LENGTH and abs(width * height) > MAX_RUN_LENGTH_PIXELS:
            raise _too_complex(f"{width} x {height} pixels in run-length code, at most {MAX_RUN_LENGTH_PIXELS}")
    return data


def _tiff(data: bytes, max_pixels: int) -> bytes:
    """Give the picture a directory of its own, of the tags that decide its pixels, in place of all others."""
    order = "<" if data[:2] == b"II" else ">"
    (first,) = struct.unpack_from(f"{order}I", data, 4)
    (count,) = struct.unpack_from(f"{order}H", data, first)
    entries, held, tile = list[bytes](), 0, 1
    for number in range(count):
        entry = data[first + 2 + 12 * number : first + 14 + 12 * number]
        tag, kind, values = struct.unpack(f"{order}HHI", entry[:8])
        if tag not in TIFF_KEPT:
            continue
        held += values * TIFF_SIZES.get(kind, 1)
        if held > len(data) or (kind not in TIFF_BYTES and values > MAX_TAG_VALUES):
            raise _too_complex(f"tag {tag} has {values} values")
        if tag in TIFF_TILE:
            tile *= struct.unpack_from(order + ("H" if kind == TIFF_SHORT else "I"), entry, 8)[0]
        entries.append(entry)
    if tile > max_pixels:
        raise Refused("image_too_large", f"a tile of {tile} pixels, at most {max_pixels} are decoded")
    directory = struct.pack(f"{order}H", len(entries)) + b"".join(entries) + bytes(4)
    padding = bytes(len(data) % 2)
    return data[:4] + struct.pack(f"{order}I", len(data) + len(padding)) + data[8:] + padding + directory


JPEG_SCAN, JPEG_END = 0xDA, 0xD9
JPEG_BARE = {0x00, 0x01, 0xFF, *range(0xD0, 0xDA)}
JPEG_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
JPEG_DROPPED = {*range(0xE1, 0xF0), 0xFE} - {0xEE}
JPEG_IN_SCAN = re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]")
PNG_KEPT = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"}
WEBP_PIXELS = {b"VP8 ", b"VP8L", b"ANMF"}
WEBP_KEPT = {b"VP8X", b"ALPH", b"ANIM", *WEBP_PIXELS}
GIF_EXTENSION, GIF_PICTURE, GIF_CONTROL = 0x21, 0x2C, 0xF9
BMP_RUN_LENGTH = {1, 2}
TIFF_SHORT, TIFF_BYTES, TIFF_TILE = 3, {1, 2, 6, 7}, {322, 323}
TIFF_SIZES = {3: 2, 4: 4, 5: 8, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
# Size, depth, compression, colours, strips, tiles, orientation, old and new JPEG tables.
TIFF_KEPT = {
    *(256, 257, 258, 259, 262, 266, 273, 274, 277, 278, 279, 284, 292, 293, 317, 320, 322, 323, 324, 325, 338, 339),
    *(347, 512, 513, 514, 515, 519, 520, 521, 529, 530, 531, 532),
}

AVIF_BRANDS = {b"avif", b"avis"}
HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"}
# Formats that are named and not decoded, by how they begin.
OTHERS: tuple[tuple[str, re.Pattern[bytes]], ...] = (
    ("JPEG XL", re.compile(rb"\xff\x0a|\0\0\0\x0cJXL ")),
    ("JPEG 2000", re.compile(rb"\xff\x4f\xff\x51|\0\0\0\x0cjP  ")),
    ("BigTIFF", re.compile(rb"II\+\0|MM\0\+")),
    ("Photoshop's PSD", re.compile(rb"8BPS")),
    ("an icon", re.compile(rb"\0\0[\1\2]\0")),
    ("PDF", re.compile(rb"%PDF")),
    ("PostScript", re.compile(rb"%!PS|\xc5\xd0\xd3\xc6")),
    ("DDS", re.compile(rb"DDS ")),
    ("PPM", re.compile(rb"P[1-7fF]\s")),
    ("QOI", re.compile(rb"qoif")),
    ("text (HTML, SVG, XML or JSON)", re.compile(rb"(?:\xef\xbb\xbf)?\s*[<{]")),
)

FORMATS: tuple[tuple[str, re.Pattern[bytes], Callable[[bytes, int], bytes]], ...] = (
    ("JPEG", re.compile(rb"\xff\xd8\xff"), _jpeg),
    ("PNG", re.compile(rb"\x89PNG\r\n\x1a\n"), _png),
    ("WEBP", re.compile(rb"RIFF....WEBP", re.DOTALL), _webp),
    ("GIF", re.compile(rb"GIF8[79]a"), _gif),
    ("BMP", re.compile(rb"BM"), _bmp),
    ("TIFF", re.compile(rb"II\*\0|MM\0\*"), _tiff),
    ("AVIF", re.compile(rb"....ftyp(?=(?:.{4}){1,64}?(?:avif|avis))", re.DOTALL), _avif),
)
