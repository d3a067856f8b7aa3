"""Small images, and what is made of their bytes."""

import io
import struct
import warnings
import zlib

import numpy as np
from PIL import Image

from filtering.embedding.images import decode_image
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


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


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
