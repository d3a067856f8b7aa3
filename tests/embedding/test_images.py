import io
import struct
import warnings
import zlib

import numpy as np
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from image_bytes import PIXELS, chunk, encoded, png_of, reason
from PIL import Image

from filtering.config.limits import MAX_PIXELS
from filtering.embedding.images import Decoded, decode_image
from filtering.shards.faults import Fault


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"])
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


WHOLE = {kind: encoded(kind) for kind in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")}


@examples(2)
@given(st.sampled_from(sorted(WHOLE)), st.randoms(use_true_random=False), st.integers(1, 6))
def test_a_damaged_image_never_raises(kind, noise, hits):
    damaged = bytearray(WHOLE[kind])
    for _ in range(hits):
        place = noise.randrange(noise.choice([60, 400, len(damaged)]))
        damaged[place : place + noise.choice([0, 1, 4])] = noise.randbytes(noise.choice([0, 1, 4]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert isinstance(decode_image(bytes(damaged)), Decoded | Fault)


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


@pytest.mark.parametrize(
    ("kind", "mode"), [("JPEG", "CMYK"), ("JPEG", "L"), ("PNG", "P"), ("TIFF", "CMYK"), ("GIF", "P")]
)
def test_colours_are_what_pillow_makes_of_the_whole_file(kind, mode):
    whole = encoded(kind, mode)
    expected = Image.open(io.BytesIO(whole)).convert("RGB")
    assert np.array_equal(np.asarray(decode_image(whole).image.convert("RGB")), np.asarray(expected))


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_of_an_animation_the_first_picture_is_taken(kind):
    frames = [Image.new("RGB", (20, 20), colour) for colour in ("red", "green", "blue")]
    buffer = io.BytesIO()
    frames[0].save(
        buffer, kind, save_all=True, append_images=frames[1:], **({"lossless": True} if kind == "WEBP" else {})
    )
    assert decode_image(buffer.getvalue()).image.convert("RGB").getpixel((3, 3)) == (255, 0, 0)


def test_transparency_of_a_palette_is_kept():
    picture = Image.new("P", (8, 8), 3)
    picture.putpalette([value for colour in range(256) for value in (colour, 0, 0)])
    for kind in ("PNG", "GIF"):
        buffer = io.BytesIO()
        picture.save(buffer, kind, transparency=3)
        assert decode_image(buffer.getvalue()).image.convert("RGBA").getpixel((0, 0))[3] == 0


RAMP = np.tile(np.linspace(0, 65535, 40).astype(np.uint16), (30, 1))


def tiff_of(bits, white, pixels, form=1):
    tags = {256: 40, 257: 30, 258: bits, 259: 1, 262: white, 273: 8, 277: 1, 278: 30, 279: len(pixels), 339: form}
    directory = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    place = struct.pack("<I", 8 + len(pixels))
    return b"II*\0" + place + pixels + struct.pack("<H", len(tags)) + directory + bytes(4)


def png_of_16_bits(colour, channels):
    header = struct.pack(">IIBBBBB", 40, 30, 16, colour, 0, 0, 0)
    rows = np.stack([RAMP] * channels[0] + [np.full_like(RAMP, 65535)] * channels[1], axis=2).astype(">u2")
    pixels = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def packed_12_bits():
    pairs = (RAMP >> 4).reshape(-1, 2).tolist()
    return b"".join(bytes([first >> 4, (first & 15) << 4 | last >> 8, last & 255]) for first, last in pairs)


@pytest.mark.parametrize(
    ("whole", "turned"),
    [
        (png_of_16_bits(0, (1, 0)), False),
        (png_of_16_bits(4, (1, 1)), False),
        (png_of_16_bits(2, (3, 0)), False),
        (png_of_16_bits(6, (3, 1)), False),
        (tiff_of(16, 1, RAMP.tobytes()), False),
        (tiff_of(16, 0, RAMP.tobytes()), True),
        (tiff_of(12, 1, packed_12_bits()), False),
    ],
)
def test_channels_of_more_than_a_byte_are_scaled_to_their_range(whole, turned):
    grey = np.asarray(decode_image(whole).image.convert("RGB")).astype(int)
    expected = 255 - (RAMP >> 8) if turned else RAMP >> 8
    assert abs(grey - expected[..., None].astype(int)).max() <= 1


@pytest.mark.parametrize(
    ("whole", "mode"),
    [
        (tiff_of(32, 1, RAMP.astype("<u4").tobytes()), "mode I"),
        (tiff_of(32, 1, RAMP.astype("<f4").tobytes(), 3), "mode F"),
        (tiff_of(16, 1, RAMP.tobytes(), 2), "mode I"),
    ],
)
def test_values_whose_range_nobody_says_are_not_made_white(whole, mode):
    fault = decode_image(whole)
    assert (fault.reason, fault.detail[: len(mode)]) == ("image_undecodable", mode)
