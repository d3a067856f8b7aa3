import io
import struct
import warnings
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from filtering.embedding.images import MAX_PIXELS, Decoded, decode_image
from filtering.shards.tar import Fault

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)


def encoded(kind, mode="RGB", **options):
    buffer = io.BytesIO()
    Image.fromarray(PIXELS).convert(mode).save(buffer, kind, **options)
    return buffer.getvalue()


def png_of(width, height):
    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


def reason(data):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = decode_image(data)
    assert isinstance(found, Fault)
    assert found.detail
    assert "\n" not in found.detail
    return found.reason


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_real_images_are_decoded(kind):
    decoded = decode_image(encoded(kind))
    assert isinstance(decoded, Decoded)
    image = decoded.image
    assert image.size == decoded.size
    assert image.size == (30, 40)
    if kind in ("PNG", "BMP", "TIFF"):
        assert np.array_equal(np.asarray(image), PIXELS)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "1", "LA", "I;16"])
def test_other_modes_are_decoded(mode):
    assert decode_image(encoded("PNG", mode)).size == (30, 40)


@pytest.mark.parametrize(
    "data", [b"", b"x", b"not an image" * 50, b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF\0\0\0\0WEBP"]
)
def test_broken_bytes_are_undecodable(data):
    assert reason(data) == "image_undecodable"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_truncated_image_is_undecodable(kind):
    whole = encoded(kind)
    for share in (0.2, 0.5, 0.8):
        assert reason(whole[: int(len(whole) * share)]) == "image_undecodable"


def test_a_format_that_is_not_bounded_is_undecodable():
    assert reason(encoded("PPM")) == "image_undecodable"
    assert reason(encoded("EPS")) == "image_undecodable"


@pytest.mark.parametrize(
    ("width", "height"), [(8001, 8000), (10_000, 10_000), (20_000, 20_000), (60_000, 60_000), (1 << 30, 1 << 30)]
)
def test_too_many_declared_pixels_are_not_decoded(width, height):
    assert width * height > MAX_PIXELS
    assert reason(png_of(width, height)) == "image_too_large"


@pytest.mark.parametrize(("width", "height"), [(1001, 10), (10, 1001), (101, 1), (60_000, 2)])
def test_an_extreme_aspect_is_not_decoded(width, height):
    assert reason(png_of(width, height)) == "image_too_narrow"


def test_an_aspect_at_the_bound_is_decoded():
    buffer = io.BytesIO()
    Image.new("RGB", (200, 2)).save(buffer, "PNG")
    assert decode_image(buffer.getvalue()).size == (200, 2)


@pytest.mark.parametrize(("width", "height"), [(0, 0), (0, 5), (5, 0)])
def test_an_image_without_pixels_is_a_fault(width, height):
    reason(png_of(width, height))


WHOLE = {kind: encoded(kind) for kind in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")}


@settings(max_examples=250, deadline=None)
@given(st.sampled_from(sorted(WHOLE)), st.randoms(use_true_random=False), st.integers(1, 6))
def test_a_damaged_image_never_raises(kind, noise, hits):
    damaged = bytearray(WHOLE[kind])
    for _ in range(hits):
        place = noise.randrange(noise.choice([60, 400, len(damaged)]))
        damaged[place : place + noise.choice([0, 1, 4])] = noise.randbytes(noise.choice([0, 1, 4]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert isinstance(decode_image(bytes(damaged)), Decoded | Fault)


@settings(max_examples=100, deadline=None)
@given(
    st.binary(max_size=300),
    st.sampled_from([b"", b"GIF89a", b"BM", b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08", b"\xff\xd8\xff\xe0"]),
)
def test_random_bytes_never_raise(data, start):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert isinstance(decode_image(start + data), Decoded | Fault)


@pytest.mark.parametrize("tag", [256, 257, 258, 259, 262, 273, 277, 278, 279, 284, 339])
def test_a_tiff_whose_tags_have_odd_types_never_raises(tag):
    whole = encoded("TIFF")
    first = struct.unpack_from("<I", whole, 4)[0]
    (count,) = struct.unpack_from("<H", whole, first)
    places = {struct.unpack_from("<H", whole, first + 2 + 12 * n)[0]: first + 2 + 12 * n for n in range(count)}
    damaged = bytearray(whole)
    for kind in range(14):
        struct.pack_into("<HH", damaged, places.get(tag, first + 2), tag, kind)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert isinstance(decode_image(bytes(damaged)), Decoded | Fault)


def test_the_same_bytes_give_the_same_fault():
    first, second = decode_image(b"no image"), decode_image(b"no image")
    assert first == second
    assert "0x" not in first.detail
