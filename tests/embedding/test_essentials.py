"""Images whose bytes ask for far more work than their pixels: refused by what they declare."""

import io
import struct

import numpy as np
import pytest
from image_bytes import chunk, encoded, reason
from PIL import Image

from filtering.embedding.images import Decoded, decode_image


def with_scans(size, count):
    buffer = io.BytesIO()
    Image.new("L", size).save(buffer, "JPEG", progressive=True)
    whole = buffer.getvalue()
    last, end = whole.rindex(b"\xff\xda"), whole.rindex(b"\xff\xd9")
    return whole[:end] + whole[last:end] * count + whole[end:]


def test_a_jpeg_of_thousands_of_scans_is_not_decoded():
    assert reason(with_scans((2000, 2000), 5000)) == "image_too_complex"
    assert isinstance(decode_image(with_scans((64, 64), 50)), Decoded)


def test_scan_marks_outside_the_picture_do_not_count():
    whole = encoded("JPEG")
    comment = b"\xff\xfe" + struct.pack(">H", 60_002) + b"\xff\xda" * 30_000
    assert isinstance(decode_image(whole[:2] + comment * 30 + whole[2:] + b"\xff\xda" * 1_000_000), Decoded)


@pytest.mark.parametrize("part", [b"\xff\xe1\0\2", b"\xff\xfe\0\2", b"\xff"])
def test_a_jpeg_of_countless_segments_is_not_decoded(part):
    whole = encoded("JPEG")
    assert reason(whole[:2] + part * 200_000 + whole[2:]) == "image_too_complex"


def test_a_png_of_countless_chunks_is_not_decoded():
    whole = encoded("PNG")
    assert reason(whole[:33] + chunk(b"aaAa", b"") * 200_000 + whole[33:]) == "image_too_complex"


def test_a_gif_of_countless_blocks_is_not_decoded():
    whole = encoded("GIF")
    at = whole.index(b",", 13 + 3 * 256)
    assert reason(whole[:at] + b"\x21\xfe" + b"\1c" * 200_000 + b"\0" + whole[at:]) == "image_too_complex"


def test_a_large_run_length_bitmap_is_not_decoded():
    sizes = struct.pack("<IHHI", 0, 0, 0, 1078) + struct.pack("<IiiHHIIiiII", 40, 8000, 8000, 1, 8, 1, 0, 1, 1, 256, 0)
    assert reason(b"BM" + sizes + bytes(1024) + b"\1\5\0\0" * 8000) == "image_too_complex"


def tiff_with(**tags):
    whole = encoded("TIFF", compression="tiff_adobe_deflate")
    (first,) = struct.unpack_from("<I", whole, 4)
    (count,) = struct.unpack_from("<H", whole, first)
    entries = {struct.unpack_from("<H", whole, first + 2 + 12 * n)[0]: n for n in range(count)}
    parts = {tag: whole[first + 2 + 12 * n : first + 14 + 12 * n] for tag, n in entries.items()}
    parts |= {int(name[1:]): struct.pack("<HHII", int(name[1:]), *entry) for name, entry in tags.items()}
    body = b"".join(parts[tag] for tag in sorted(parts))
    return whole[:4] + struct.pack("<I", len(whole)) + whole[8:] + struct.pack("<H", len(parts)) + body + bytes(4)


def test_a_tiff_whose_tile_is_larger_than_any_image_is_not_decoded():
    assert isinstance(decode_image(tiff_with()), Decoded)
    assert reason(tiff_with(t322=(4, 1, 40_000), t323=(4, 1, 40_000))) == "image_too_large"


def test_a_tiff_of_countless_strips_is_not_decoded():
    assert reason(tiff_with(t273=(3, 70_000, 8)) + bytes(200_000)) == "image_too_complex"
    assert reason(tiff_with(t320=(1, 1 << 31, 8))) == "image_too_complex"


def test_webp_which_takes_more_memory_may_have_fewer_pixels():
    whole = encoded("WEBP")
    assert isinstance(decode_image(whole, max_pixels=1600), Decoded)
    assert decode_image(whole, max_pixels=1599).reason == "image_too_large"
    assert isinstance(decode_image(encoded("PNG"), max_pixels=1200), Decoded)


PROFILE = bytes(range(256)) * 4000


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_metadata_changes_no_pixel(kind):
    exif = Image.Exif()
    exif[0x010E] = "x" * 5000
    bare, laden = (decode_image(encoded(kind, **more)) for more in ({}, {"icc_profile": PROFILE, "exif": exif}))
    assert np.array_equal(np.asarray(bare.image), np.asarray(laden.image))
    assert "icc_profile" not in laden.image.info
