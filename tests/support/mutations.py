"""Bytes that were changed at random: by flips, cuts, moved and repeated blocks, other numbers, parts of other files."""

import random
import re
import zlib
from collections.abc import Callable, Mapping, Sequence

Noise = random.Random
Mutator = Callable[[Noise, bytes, Sequence[bytes]], bytes]

BLOCK = 512
DIGITS = re.compile(rb"[0-9]+")
# Sizes, counts, offsets: where signs, widths and products of numbers end.
EDGES = (
    0,
    1,
    2,
    127,
    128,
    255,
    256,
    32767,
    32768,
    65535,
    65536,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**32,
    2**63 - 1,
    2**64 - 1,
)


def overwritten(noise: Noise, data: bytes, hits: int, most: int) -> bytes:
    """Return bytes of which some places, of at most so many bytes each, are random."""
    found = bytearray(data)
    for _ in range(hits):
        size = min(noise.randint(1, most), len(found))
        place = noise.randrange(len(found) - size + 1)
        found[place : place + size] = noise.randbytes(size)
    return bytes(found)


def moved_blocks(noise: Noise, data: bytes, hits: int, block: int = BLOCK) -> bytes:
    """Return bytes of which some blocks are moved, repeated or lost."""
    blocks = [data[at : at + block] for at in range(0, len(data), block)]
    for _ in range(hits):
        if not blocks:
            break
        start, length = noise.randrange(len(blocks)), noise.randint(1, 12)
        part = blocks[start : start + length]
        del blocks[start : start + noise.choice([0, length])]
        place = noise.randrange(len(blocks) + 1)
        blocks[place:place] = part * noise.choice([0, 1, 3])
    return b"".join(blocks)


def flips(noise: Noise, data: bytes, others: Sequence[bytes] = ()) -> bytes:
    """Return bytes with one to eight bits changed."""
    found = bytearray(data)
    for _ in range(noise.choice([1, 1, 1, 2, 4, 8])):
        if found:
            found[noise.randrange(len(found))] ^= 1 << noise.randrange(8)
    return bytes(found)


def noisy(noise: Noise, data: bytes, others: Sequence[bytes] = ()) -> bytes:
    """Return bytes with random ones, or zeros, at some places."""
    if noise.random() < 0.7:
        return overwritten(noise, data, noise.randint(1, 8), noise.choice([1, 2, 8, 512])) if data else b""
    start, end = _range(noise, data)
    return data[:start] + bytes(end - start) + data[end:]


def cut(noise: Noise, data: bytes, others: Sequence[bytes] = ()) -> bytes:
    """Return the beginning, the end, or all but a part."""
    start, end = _range(noise, data)
    return noise.choice([data[:start], data[start:], data[:start] + data[end:], data[: -noise.randint(1, 40)]])


def blocks(noise: Noise, data: bytes, others: Sequence[bytes] = ()) -> bytes:
    """Return bytes with blocks of some size moved, repeated or lost."""
    return moved_blocks(noise, data, noise.randint(1, 6), noise.choice([1, 4, 16, 64, BLOCK, BLOCK]))


def spliced(noise: Noise, data: bytes, others: Sequence[bytes] = ()) -> bytes:
    """Return bytes with a part of another file in the place of a part, or between two."""
    other = noise.choice(others) if others else data
    start, end = _range(noise, data)
    first, last = _range(noise, other)
    return data[:start] + other[first:last] + data[noise.choice([start, end]) :]


def fields(noise: Noise, data: bytes, others: Sequence[bytes] = ()) -> bytes:
    """Return bytes with a binary number of one to eight bytes set to an edge, or moved a little."""
    found, width = bytearray(data), noise.choice([1, 2, 4, 4, 8])
    for _ in range(noise.choice([1, 1, 2, 3])):
        if len(found) < width:
            break
        place, order = _place(noise, found, width), noise.choice(["little", "big"])
        known = int.from_bytes(found[place : place + width], order)  # type: ignore[arg-type]
        value = noise.choice([noise.choice(EDGES), known + noise.randint(-3, 3), known << 1, known >> 1])
        found[place : place + width] = (value % (1 << 8 * width)).to_bytes(width, order)  # type: ignore[arg-type]
    return bytes(found)


def numbers(noise: Noise, data: bytes, others: Sequence[bytes] = ()) -> bytes:
    """Return bytes with a number in digits replaced by another, of the same width or not; flips where there is none."""
    found = [*DIGITS.finditer(data)]
    if not found:
        return flips(noise, data)
    start, end = noise.choice(found).span()
    value = noise.choice([*EDGES, 10**30, int(data[start:end][:18]) + noise.randint(-3, 3)])
    text = b"%d" % abs(value)
    text = noise.choice([text, text.zfill(end - start)[-(end - start) :], b"-" + text, b"9" * (end - start)])
    return data[:start] + text + data[end:]


BYTEWISE: Mapping[str, Mutator] = {
    "flips": flips,
    "noise": noisy,
    "cut": cut,
    "blocks": blocks,
    "splice": spliced,
    "fields": fields,
    "numbers": numbers,
}


def mutated(noise: Noise, data: bytes, others: Sequence[bytes] = ()) -> tuple[str, bytes]:
    """Return the name of a bytewise change, and bytes changed so, once or a few times."""
    name = noise.choice([*BYTEWISE])
    for _ in range(noise.choice([1, 1, 1, 2, 4])):
        data = BYTEWISE[name](noise, data, others)
    return name, data


def inside_deflate(noise: Noise, data: bytes, wbits: int) -> bytes:
    """Return a deflated stream that inflates to something that was mutated."""
    whole = zlib.decompress(data, wbits)
    packer = zlib.compressobj(1, zlib.DEFLATED, wbits)
    return packer.compress(mutated(noise, whole)[1]) + packer.flush()


def _range(noise: Noise, data: bytes) -> tuple[int, int]:
    start = noise.randrange(len(data) + 1)
    most = noise.choice([1, 4, 32, BLOCK, len(data)])
    return start, min(len(data), start + noise.randint(0, max(1, most)))


def _place(noise: Noise, data: bytearray, width: int) -> int:
    """Return a place where a number fits: in half of all cases near an end, where headers, footers and tables are."""
    last = len(data) - width
    near = min(last, 256)
    return noise.choice(
        [noise.randint(0, last), noise.randint(0, last), noise.randint(0, near), last - noise.randint(0, near)]
    )
