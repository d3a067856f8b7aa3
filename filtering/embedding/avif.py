"""Bound an AVIF before it is decoded: by what its pictures declare themselves, not by what its container says.

A container may call a picture small that is 16,384 pixels wide; the decoder decodes it first and scales it afterwards.
"""

import struct
from collections.abc import Iterator

from filtering.shards.faults import Fault

# A colour picture and its opacity.
PICTURES = 2
# Frames and items of a still picture, far above what encoders write.
MAX_FRAMES, MAX_ITEMS = 8, 4096
SEQUENCE_HEADER, FRAMES = 1, {3, 6, 7}
# The bytes of an item's number, by the version of the box that describes it.
ITEM_BYTES = {2: 2, 3: 4}
# The types of items that are pictures, and of those that no pixel depends on.
PICTURE, METADATA = b"av01", {b"Exif", b"mime"}


class Refused(Exception):
    """The image is not to be decoded; `fault` says why."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.fault = Fault(reason, detail)


def avif(data: bytes, max_pixels: int) -> bytes:
    """Return an AVIF without metadata and, if it is animated, as its still picture.

    Refused if its pictures declare more than `max_pixels`, or frames that a picture does not need.
    """
    found, meta, start = bytearray(data), b"", 0
    for kind, at, body, end in _boxes(data, 0, len(data)):
        if kind == b"ftyp":
            found[at:end] = data[at:end].replace(b"avis", b"avif")
        elif kind == b"moov":
            found[at + 4 : at + 8] = b"free"
        elif kind == b"meta":
            start, meta = body + 4, data[body + 4 : end]
    if not start:
        raise Refused("image_undecodable", "an AVIF that does not say where its picture is")
    items = list(_items(meta))
    for _, kind, at in items:
        if kind in METADATA:
            found[start + at : start + at + 4] = b"free"
    _check_pixels(data, meta, {item for item, kind, _ in items if kind == PICTURE}, max_pixels)
    return bytes(found)


def _check_pixels(data: bytes, meta: bytes, pictures: set[int], max_pixels: int) -> None:
    """Refuse pictures that are too large, each or together, by what all parts of each say."""
    parts = {item: list[bytes]() for item in pictures}
    held = 0
    for item, start, end in _extents(meta):
        if item in parts:
            parts[item].append(data[start:end])
            held += len(parts[item][-1])
            if held > len(data):
                raise Refused("image_too_complex", "its pictures have more bytes than the file")
    pixels = [_pixels(b"".join(part)) for part in parts.values() if part]
    if not pixels:
        raise Refused("image_undecodable", "an AVIF that has no picture")
    if max(pixels) > max_pixels or sum(pixels) > PICTURES * max_pixels:
        raise Refused("image_too_large", f"pictures of {sum(pixels)} pixels, at most {max_pixels} are decoded")


def _items(meta: bytes) -> Iterator[tuple[int, bytes, int]]:
    """Yield number and type of each item, and where its type stands."""
    for kind, _, body, end in _boxes(meta, 0, len(meta)):
        if kind != b"iinf":
            continue
        for entry, _, start, _ in _boxes(meta, body + (8 if meta[body] else 6), end):
            if entry == b"infe" and meta[start] in ITEM_BYTES:
                at = start + 4 + ITEM_BYTES[meta[start]]
                yield _number(meta[start + 4 : at]), meta[at + 2 : at + 6], at + 2


def _number(data: bytes) -> int:
    return int.from_bytes(data, "big")


def _boxes(data: bytes, at: int, end: int) -> Iterator[tuple[bytes, int, int, int]]:
    """Yield type, start, start of the content and end of each box."""
    for _ in range(MAX_ITEMS):
        if at + 8 > end:
            return
        size, body = _number(data[at : at + 4]), at + 8
        if size == 1:
            size, body = _number(data[at + 8 : at + 16]), at + 16
        stop = end if size == 0 else min(at + size, end)
        yield data[at + 4 : at + 8], at, body, stop
        at = max(stop, body)
    raise _too_many(MAX_ITEMS, "parts")


def _too_many(most: int, what: str) -> Refused:
    return Refused("image_too_complex", f"more than {most} {what}")


def _extents(meta: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield item, start and end in the file of each part of each item; Refused if they lie elsewhere."""
    for kind, _, body, _ in _boxes(meta, 0, len(meta)):
        if kind != b"iloc":
            continue
        version, sizes = meta[body], _number(meta[body + 4 : body + 6])
        widths = [sizes >> shift & 15 for shift in (12, 8, 4, 0)]
        number = 4 if version == 2 else 2
        at = body + 6 + number
        left = MAX_ITEMS
        for _ in range(_number(meta[body + 6 : at])):
            item = _number(meta[at : at + number])
            at += number
            if version:
                if _number(meta[at : at + 2]) & 15:
                    raise Refused("image_undecodable", "an AVIF whose picture lies in its description is not decoded")
                at += 2
            base = _number(meta[at + 2 : at + 2 + widths[2]])
            at += 4 + widths[2]
            index = widths[3] if version else 0
            step = index + widths[0] + widths[1]
            count = _number(meta[at - 2 : at])
            left -= max(count, 1)
            if left < 0:
                raise _too_many(MAX_ITEMS, "parts")
            for _ in range(count):
                offset = _number(meta[at + index : at + index + widths[0]])
                length = _number(meta[at + index + widths[0] : at + step])
                yield item, base + offset, base + offset + length
                at += step


def _pixels(picture: bytes) -> int:
    """Return the largest size, in pixels, that a picture's own headers declare."""
    at, frames, pixels, left = 0, 0, 0, MAX_ITEMS
    while at < len(picture):
        left -= 1
        kind, extended, sized = picture[at] >> 3 & 15, picture[at] >> 2 & 1, picture[at] >> 1 & 1
        at += 1 + extended
        length, shift = len(picture) - at, 0
        if sized:
            length = 0
            while True:
                byte = picture[at]
                length, shift, at = length | (byte & 127) << shift, shift + 7, at + 1
                if byte < 128 or shift > 28:
                    break
        if kind == SEQUENCE_HEADER:
            pixels = max(pixels, _declared(picture[at : at + min(length, 64)]))
        frames += kind in FRAMES
        if frames > MAX_FRAMES:
            raise _too_many(MAX_FRAMES, "frames of a still picture")
        if not left:
            raise _too_many(MAX_ITEMS, "parts of a picture")
        at += length
    if not pixels:
        raise Refused("image_undecodable", "an AVIF whose picture does not begin with its size")
    return pixels


def _declared(header: bytes) -> int:
    """Return width times height of a sequence header of AV1 (its specification's section 5.5.1)."""
    bits, at = _number(header), len(header) * 8

    def take(count: int) -> int:
        nonlocal at
        at -= count
        if at < 0:
            raise IndexError
        return bits >> at & (1 << count) - 1

    take(4)
    if take(1):
        take(5)
    else:
        if take(1):
            raise Refused("image_undecodable", "an AVIF with a clock, as of a film, is not decoded")
        delays = take(1)
        for _ in range(take(5) + 1):
            take(12)
            if take(5) > 7:
                take(1)
            if delays and take(1):
                take(4)
    widths = take(4) + 1, take(4) + 1
    return (take(widths[0]) + 1) * (take(widths[1]) + 1)


def brands(data: bytes) -> set[bytes]:
    """Return the formats that the beginning of a file of boxes says it can be read as."""
    (size,) = struct.unpack_from(">I", data)
    listed = data[8 : min(max(size, 16), 512)]
    return {listed[at : at + 4] for at in range(0, len(listed), 4)}
