"""Encoded images that a pool from the web holds by accident or malice, by name: the bytes, and what becomes of them."""

import io
import struct
import zlib
from collections.abc import Iterator
from functools import cache

import numpy as np
from PIL import Image

KEPT = "kept"
UNDECODABLE, TOO_LARGE, TOO_COMPLEX = "image_undecodable", "image_too_large", "image_too_complex"
SIZE = (48, 40)
NOISE = np.random.default_rng(5).integers(0, 256, (*SIZE[::-1], 3), dtype=np.uint8)

Case = tuple[str, bytes, str]


def encoded(kind: str, mode: str = "RGB", size: tuple[int, int] = SIZE, **options) -> bytes:
    buffer = io.BytesIO()
    picture = Image.fromarray(NOISE).resize(size).convert(mode)
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def animated(kind: str) -> bytes:
    frames = [encoded("PNG", size=(32, 32 + at)) for at in range(3)]
    pictures = [Image.open(io.BytesIO(frame)).resize((32, 32)) for frame in frames]
    buffer = io.BytesIO()
    pictures[0].save(buffer, kind, save_all=True, append_images=pictures[1:])
    return buffer.getvalue()


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width: int, height: int, pixels: bytes | None = None, extra: bytes = b"") -> bytes:
    """A black 1-bit PNG, whose pixels are all there unless others are given."""
    rows = bytes((width + 7) // 8 + 1)
    whole = zlib.compress(rows * height, 1) if pixels is None else pixels
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + extra + chunk(b"IDAT", whole) + chunk(b"IEND", b"")


@cache
def deflated_zeros(size: int) -> bytes:
    packer = zlib.compressobj(1)
    return b"".join([*(packer.compress(bytes(1 << 20)) for _ in range(size >> 20)), packer.flush()])


def many_scans() -> bytes:
    whole = encoded("JPEG", "L", (2000, 2000), progressive=True)
    last, end = whole.rindex(b"\xff\xda"), whole.rindex(b"\xff\xd9")
    return whole[:end] + b"\xff\xda\0\x08\1\1\0\1\5\x01" * 3000 + whole[last:]


def run_length_bitmap() -> bytes:
    file = struct.pack("<IHHI", 0, 0, 0, 1078)
    return (
        b"BM"
        + file
        + struct.pack("<IiiHHIIiiII", 40, 8000, 8000, 1, 8, 1, 0, 1, 1, 256, 0)
        + bytes(1024)
        + b"\1\5\0\0" * 8000
    )


def tiff_of_one_tile(side: int) -> bytes:
    """A TIFF of 64 x 64 pixels in one tile of `side` x `side`, all of whose bytes inflate."""
    pixels = deflated_zeros(1 << 27)
    tags = {256: 64, 257: 64, 258: 8, 259: 8, 262: 1, 277: 1, 322: side, 323: side, 324: 8, 325: len(pixels)}
    directory = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    place = 8 + len(pixels) + len(pixels) % 2
    return (
        b"II*\0"
        + struct.pack("<I", place)
        + pixels.ljust(place - 8, b"\0")
        + struct.pack("<H", len(tags))
        + directory
        + bytes(4)
    )


def jpeg_with(segment: bytes, times: int) -> bytes:
    whole = encoded("JPEG")
    return whole[:2] + segment * times + whole[2:]


def small_by_name(whole: bytes) -> bytes:
    """An AVIF whose container says that its picture has 64 x 64 pixels."""
    at = whole.index(b"ispe") + 8
    return whole[:at] + struct.pack(">II", 64, 64) + whole[at + 8 :]


def oriented() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded("JPEG", exif=exif)


def images() -> Iterator[Case]:
    """Yield name, bytes and outcome: kept, or the reason of the quarantine."""
    whole, icc = encoded("JPEG"), b"ICC_PROFILE\0\1\1" + bytes(65_000)
    yield from (
        ("bomb_by_header", png(60_000, 60_000, zlib.compress(b"\0")), TOO_LARGE),
        ("bomb_that_inflates", png(20_000, 20_000), TOO_LARGE),
        ("large_within_the_limit", png(6_000, 6_000), KEPT),
        ("one_tile_larger_than_the_picture", tiff_of_one_tile(30_000), TOO_LARGE),
        ("truncated_jpeg", whole[: len(whole) // 2], UNDECODABLE),
        ("truncated_png", encoded("PNG")[:-2000], UNDECODABLE),
        ("png_named_jpg", encoded("PNG"), KEPT),
        ("webp_named_jpg", encoded("WEBP"), KEPT),
        ("bmp_named_jpg", encoded("BMP"), KEPT),
        ("tiff_named_jpg", encoded("TIFF", compression="tiff_lzw"), KEPT),
        ("progressive", encoded("JPEG", progressive=True), KEPT),
        ("cmyk", encoded("JPEG", "CMYK"), KEPT),
        ("cmyk_tiff", encoded("TIFF", "CMYK"), KEPT),
        ("sixteen_bit", encoded("PNG", "I;16"), KEPT),
        ("float_tiff", encoded("TIFF", "F"), UNDECODABLE),
        ("avif", encoded("AVIF"), KEPT),
        ("animated_avif", animated("AVIF"), KEPT),
        ("avif_called_small", small_by_name(encoded("AVIF", size=(9_000, 9_000), speed=10)), TOO_LARGE),
        ("heic", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(500), UNDECODABLE),
        ("palette", encoded("PNG", "P"), KEPT),
        ("palette_with_transparency", encoded("PNG", "P", transparency=3), KEPT),
        ("alpha", encoded("PNG", "RGBA"), KEPT),
        ("grey_alpha", encoded("PNG", "LA"), KEPT),
        ("one_bit", encoded("PNG", "1"), KEPT),
        ("animated_gif", animated("GIF"), KEPT),
        ("animated_webp", animated("WEBP"), KEPT),
        ("animated_png", animated("PNG"), KEPT),
        ("exif_orientation", oriented(), KEPT),
        ("one_pixel", encoded("PNG", size=(1, 1)), KEPT),
        ("one_pixel_wide", encoded("PNG", size=(1, 30_000)), "image_too_narrow"),
        ("no_pixels", png(0, 0), UNDECODABLE),
        ("empty_image", b"", UNDECODABLE),
        ("thousands_of_scans", many_scans(), TOO_COMPLEX),
        ("thousands_of_segments", jpeg_with(b"\xff\xe1\0\2", 200_000), TOO_COMPLEX),
        ("thousands_of_chunks", png(8, 8, extra=chunk(b"aaAa", b"") * 200_000), TOO_COMPLEX),
        ("run_length_bitmap", run_length_bitmap(), TOO_COMPLEX),
        ("huge_icc_in_jpeg", jpeg_with(b"\xff\xe2" + struct.pack(">H", len(icc) + 2) + icc, 200), KEPT),
        ("inflating_icc_in_png", png(8, 8, extra=chunk(b"iCCP", b"x\0\0" + deflated_zeros(1 << 27))), KEPT),
        ("inflating_text_in_png", png(8, 8, extra=chunk(b"zTXt", b"x\0\0" + deflated_zeros(1 << 27)) * 3), KEPT),
        ("svg", b'<svg xmlns="http://www.w3.org/2000/svg"><script>hostile()</script></svg>', UNDECODABLE),
        ("pdf", b"%PDF-1.7\n1 0 obj<</JS(app.alert)>>endobj", UNDECODABLE),
        ("eps", encoded("EPS"), UNDECODABLE),
        ("ppm", encoded("PPM"), UNDECODABLE),
        ("html_named_jpg", b"<html><body>404</body></html>", UNDECODABLE),
        ("jpeg_of_markers_alone", b"\xff\xd8\xff" + b"\xff" * 300_000, TOO_COMPLEX),
    )
