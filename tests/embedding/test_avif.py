"""AVIF: decoded as one picture within bounds; formats that are not decoded are named."""

import io
import struct

import numpy as np
import pytest
from image_bytes import avif_of, boxed, encoded, reason
from PIL import Image

from filtering.embedding.images import decode_image
from filtering.shards.faults import Fault


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
