import io
import struct
import warnings
import zlib

import numpy as np
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from filtering.config.limits import MAX_PIXELS
from filtering.embedding.images import Decoded, decode_image
from filtering.shards.faults import Fault

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


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


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


def boxed(whole, **changes):
    """An AVIF of which some boxes are changed: what stands a number of bytes after a box's name."""
    changed = bytearray(whole)
    for name, (after, content) in changes.items():
        at = whole.index(name.encode()) + after
        changed[at : at + len(content)] = content
    return bytes(changed)


def avif_of(width, height):
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), "red").save(buffer, "AVIF", speed=10)
    return buffer.getvalue()


def test_avif_is_decoded_without_its_metadata_and_as_one_picture():
    exif = Image.Exif()
    exif[0x010E] = "x" * 5000
    bare, laden = (decode_image(encoded("AVIF", **more)) for more in ({}, {"exif": exif, "xmp": b"<x/>"}))
    assert bare.size == (30, 40)
    assert np.array_equal(np.asarray(bare.image), np.asarray(laden.image))
    assert "exif" not in laden.image.info
    frames = [Image.new("RGB", (20, 20), colour) for colour in ("red", "green")]
    buffer = io.BytesIO()
    frames[0].save(buffer, "AVIF", save_all=True, append_images=frames[1:])
    assert decode_image(buffer.getvalue()).image.getpixel((3, 3))[0] > 200


def test_an_avif_is_as_large_as_its_pictures_say_whatever_its_container_says():
    whole = avif_of(1000, 800)
    small = boxed(whole, ispe=(8, struct.pack(">II", 64, 64)))
    assert decode_image(whole, max_pixels=400_000).reason == "image_too_large"
    assert decode_image(small, max_pixels=300_000).reason == "image_too_large"
    large = boxed(avif_of(64, 64), ispe=(8, struct.pack(">II", 60_000, 60_000)))
    assert isinstance(decode_image(large), Fault)


def in_parts(whole, *pictures):
    """An AVIF whose picture has several parts in its file, each those of another AVIF's picture."""
    data = b"".join(pictures)
    meta, content = whole.index(b"meta") - 4, whole.index(b"mdat") + 4
    iloc = whole.index(b"iloc") - 4
    end = iloc + struct.unpack_from(">I", whole, iloc)[0]
    # Offsets and lengths of 4 bytes, one item, whose number is 1.
    head = b"iloc" + bytes(4) + b"\x44\x00" + struct.pack(">HHHH", 1, 1, 0, len(pictures))
    longer = len(head) + 4 + 8 * len(pictures) - (end - iloc)
    place, places = content + longer, b""
    for picture in pictures:
        places += struct.pack(">II", place, len(picture))
        place += len(picture)
    size = struct.unpack_from(">I", whole, meta)[0] + longer
    located = struct.pack(">I", len(head) + 4 + len(places)) + head + places
    front = whole[:meta] + struct.pack(">I", size) + whole[meta + 4 : iloc] + located + whole[end : content - 8]
    return front + struct.pack(">I", 8 + len(data)) + b"mdat" + data


def test_an_avif_is_as_large_as_all_parts_of_its_picture_say():
    small, large = avif_of(64, 64), avif_of(1000, 800)
    first, second = (whole[whole.index(b"mdat") + 4 :] for whole in (small, large))
    # The first part is whole, without the frame that follows: its size alone.
    header = first[: 2 + first[1]]
    assert decode_image(in_parts(small, first), max_pixels=300_000).size == (64, 64)
    assert decode_image(in_parts(small, header, second), max_pixels=300_000).reason == "image_too_large"


def test_an_avif_whose_picture_is_hidden_from_its_list_is_not_decoded():
    whole = avif_of(64, 64)
    assert decode_image(boxed(whole, infe=(12, b"hide"))).detail == "an AVIF that has no picture"


def test_an_avif_of_countless_parts_is_not_decoded():
    whole = avif_of(64, 64)
    picture = whole[whole.index(b"mdat") + 4 :]
    assert reason(in_parts(whole, picture, b"\x12\x00" * 100_000)) == "image_too_complex"
    assert reason(in_parts(whole, picture, *[b""] * 5000)) == "image_too_complex"


def test_an_avif_of_countless_frames_is_not_decoded():
    whole = avif_of(64, 64)
    data = whole.index(b"mdat") + 4
    picture = whole[data:]
    # A frame header (type 3) without content after it.
    frames = b"\x1a\x00" * 1000
    place, size = struct.pack(">I", data), struct.pack(">I", len(picture + frames))
    iloc = whole.index(b"iloc")
    at = whole.index(place, iloc)
    many = whole[:at] + place + size + whole[at + 8 :] + frames
    assert reason(many) == "image_too_complex"


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heix", "HEIC"),
        (b"\xff\x0a123", "JPEG XL"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
        (b"8BPS\0\1", "Photoshop's PSD"),
        (b"\0\0\1\0\1\0", "an icon"),
        (b"DDS |", "DDS"),
        (b"P6 3 3 255 ", "PPM"),
        (b"%!PS-Adobe", "PostScript"),
        (b" <svg/>", "text (HTML, SVG, XML or JSON)"),
        (b"MM\0+\0\x08", "BigTIFF"),
    ],
)
def test_formats_that_are_not_decoded_are_named(data, name):
    assert decode_image(data + bytes(100)) == Fault("image_undecodable", f"its bytes are {name}, which is not decoded")


def test_without_a_decoder_of_avif_it_is_named(monkeypatch):
    monkeypatch.setattr("PIL.features.check", lambda name: False)
    assert "AVIF, which needs Pillow 11.3" in decode_image(encoded("AVIF")).detail
