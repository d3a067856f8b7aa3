"""A fast look at an ordinary tar: where its members are and which stand together, from headers alone.

Ordinary is what webdataset, img2dataset and `tarfile` write: regular files, octal numbers, ASCII names of at most 100
characters, PAX headers that say neither a name nor a size. Everything else is left to `filtering.shards`, which reads
any tar and is slower.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit, types

from filtering.shards.header import BLOCK, NUMBERS
from filtering.shards.tar import MAX_MEMBERS

Bytes = npt.NDArray[np.uint8]
# Columns of a member's line: where its headers start, its data starts, its data ends, the next member starts; the
# characters of its name and of its key; the run of members of one key that it stands in, -1 for none.
START, DATA, STOP, END, NAME, KEY, RUN = range(7)
COLUMNS = 7
LINES = 32_768
# How a walk ends. A key with more members is left to the other reader: here each is compared with all before it.
DONE, FULL, STRANGE = range(3)
LONGEST_RUN = 64
REGULAR, PAX, SLASH, DOT, SPACE = (ord(letter) for letter in "0x/. ")
KNOWN_RECORDS = tuple(np.frombuffer(word, np.uint8) for word in (b"path=", b"size=", b"GNU.sparse."))
# What is read of the file at once: the headers between one picture and the next. A map of the file would cost more,
# by a page fault for each of them, and end the process if the file were cut meanwhile.
WINDOW = 7_168
# So much of it at least holds a member's headers.
HEADERS = 2_048
# The numbers from byte 100 on are octal digits, which alone have the upper bits of 0x30, and a NUL or a space; the
# checksum ends in both. Numbers of devices may be empty instead.
_FIELDS = b"ddddddd." * 3 + b"ddddddddddd." * 2 + b"dddddd0s"
_LOOKS = {ord("d"): (0xF8, 0x30), ord("."): (0xDF, 0), ord("0"): (0xFF, 0), ord("s"): (0xFF, 0x20)}
MASK, WANTED = (np.array([_LOOKS[field][part] for field in _FIELDS], np.uint8) for part in range(2))
EMPTY_MASK, EMPTY = np.full(8, 0xFF, np.uint8), np.zeros(8, np.uint8)
_pread = types.ExternalFunction("pread", types.intp(types.int32, types.uintp, types.uintp, types.int64))


@dataclass(frozen=True, slots=True)
class Scan:
    """The members of an ordinary tar.

    Attributes
    ----------
    lines : int64 (m, 7), a member a line, as the constants of this module name its columns. A member without a key,
        or with an extension that its run has already, is in no run.
    names : bytes S100 (m,), the members' names.
    keys : bytes S100 (r,), the key of each run, in order.
    """

    lines: npt.NDArray[np.int64]
    names: npt.NDArray[np.bytes_]
    keys: npt.NDArray[np.bytes_]


def scan(path: Path) -> Scan | None:
    """Return the members of a tar on a disk, None if it is no ordinary one or a key's members stand apart in it.

    Memory is 256 bytes a member; of the file, what lies between headers is passed over.
    """
    size = path.stat().st_size
    if size < BLOCK:
        return None
    with path.open("rb", buffering=0) as file:
        found = _walked(file.fileno(), size)
    if found is None:
        return None
    lines, names = found
    here = np.flatnonzero(lines[:, RUN] >= 0)
    first = here[np.flatnonzero(np.diff(lines[here, RUN], prepend=-1))]
    letters = np.where(np.arange(NUMBERS) < lines[first, KEY][:, None], names[first], np.uint8(0))
    keys: npt.NDArray[np.bytes_] = np.ascontiguousarray(letters).view(f"S{NUMBERS}").reshape(-1)
    if len(set(keys.tolist())) < len(keys):
        return None
    return Scan(lines, names.view(f"S{NUMBERS}").reshape(-1), keys)


def _walked(file: int, size: int) -> tuple[npt.NDArray[np.int64], Bytes] | None:
    lines, names = np.empty((LINES, COLUMNS), dtype=np.int64), np.zeros((LINES, NUMBERS), dtype=np.uint8)
    window = np.empty(WINDOW, dtype=np.uint8)
    state = np.array([0, 0, -1, 0], dtype=np.int64)
    while (found := _walk(file, size, window, lines, names, state, *KNOWN_RECORDS)) == FULL:
        if len(lines) > MAX_MEMBERS:
            return None
        lines, names = np.concatenate([lines, lines]), np.concatenate([names, np.zeros_like(names)])
    if found == STRANGE or state[1] > MAX_MEMBERS:
        return None
    return lines[: state[1]].copy(), names[: state[1]].copy()


@njit(cache=True)  # type: ignore[untyped-decorator]
def _octal(digits: Bytes) -> int:
    value = 0
    for letter in digits:
        value = value * 8 + (letter & 7)
    return value


@njit(cache=True)  # type: ignore[untyped-decorator]
def _differs(block: Bytes, start: int, mask: Bytes, wanted: Bytes) -> bool:
    """Say whether bytes are other than wanted, as far as the mask looks at them."""
    strange = np.uint8(0)
    for at in range(len(mask)):
        strange |= (block[start + at] & mask[at]) ^ wanted[at]
    return bool(strange != 0)


@njit(cache=True)  # type: ignore[untyped-decorator]
def _ordinary(block: Bytes) -> int:
    """Return the size in an ordinary header, -1 if it is none. See `filtering.shards.header.ORDINARY`."""
    total = np.uint32(0)
    for at in range(BLOCK):
        total += np.uint32(block[at])
    for at in range(148, 156):
        total -= np.uint32(block[at])
    if _differs(block, NUMBERS, MASK, WANTED) or total + 8 * SPACE != _octal(block[148:154]):
        return -1
    for start in (329, 337):
        if _differs(block, start, EMPTY_MASK, EMPTY) and _differs(block, start, MASK[:8], WANTED[:8]):
            return -1
    # A name that goes on in the prefix is left to the other reader.
    return int(_octal(block[124:135])) if block[345] == 0 else -1


@njit(cache=True)  # type: ignore[untyped-decorator]
def _holds(text: Bytes, word: Bytes) -> bool:
    for at in range(len(text) - len(word) + 1):
        same = 0
        while same < len(word) and text[at + same] == word[same]:
            same += 1
        if same == len(word):
            return True
    return False


@njit(cache=True)  # type: ignore[untyped-decorator]
def _name(block: Bytes) -> tuple[int, int]:
    """Return how long a name and its key are; a key of -1 is none, a name of -1 is not plain ASCII."""
    length, base, dot = 0, 0, -1
    for letter in block[:NUMBERS]:
        if letter == 0:
            break
        if letter < SPACE or letter > 126:
            return -1, -1
        if letter == SLASH:
            base, dot = length + 1, -1
        elif letter == DOT and dot < 0:
            dot = length
        length += 1
    return length, (dot if dot > base else -1)


@njit(cache=True)  # type: ignore[untyped-decorator]
def _lower(letter: int) -> int:
    return letter + 32 if 65 <= letter <= 90 else letter


@njit(cache=True)  # type: ignore[untyped-decorator]
def _header(headers: Bytes, path: Bytes, size: Bytes, sparse: Bytes) -> tuple[int, int]:
    """Return where a member's own header ends, after its PAX header if it has one, and its size; -1 if not ordinary."""
    length, at = _ordinary(headers[:BLOCK]), 0
    if length >= 0 and headers[156] == PAX:
        end = BLOCK + length
        at = end + (-length) % BLOCK
        if at + BLOCK > len(headers):
            return -1, -1
        for word in (path, size, sparse):
            if _holds(headers[BLOCK:end], word):
                return -1, -1
        length = _ordinary(headers[at : at + BLOCK])
    return at + BLOCK, (length if headers[at + 156] == REGULAR else -1)


@njit(cache=True)  # type: ignore[untyped-decorator]
def _is_repeat(names: Bytes, lines: Any, run_line: int, count: int) -> bool:
    """Say whether the last member's extension, in lower case, is there before in its run."""
    key, length = lines[count, KEY], lines[count, NAME]
    for other in range(run_line, count):
        if lines[other, RUN] >= 0 and lines[other, NAME] == length:
            at = key
            while at < length and _lower(names[other, at]) == _lower(names[count, at]):
                at += 1
            if at == length:
                return True
    return False


@njit(cache=True)  # type: ignore[untyped-decorator]
def _continues(names: Bytes, lines: Any, run_line: int, count: int) -> bool:
    """Say whether the last member has the key of the run before it."""
    key = lines[count, KEY]
    if run_line < 0 or lines[run_line, KEY] != key:
        return False
    return bool(np.all(names[run_line, :key] == names[count, :key]))


@njit(cache=True)  # type: ignore[untyped-decorator]
def _filled(file: int, window: Bytes, at: int) -> int:
    """Read from a place in the file on, and return how many bytes came: fewer than a window only at its end."""
    have = 0
    while have < len(window):
        came = _pread(file, window.ctypes.data + have, len(window) - have, at + have)
        if came <= 0:
            break
        have += came
    return have


@njit(cache=True)  # type: ignore[untyped-decorator]
def _walk(
    file: int, total: int, window: Bytes, lines: Any, names: Bytes, state: Any, path: Bytes, size: Bytes, sparse: Bytes
) -> int:
    """Fill lines from where `state` (byte, lines, first line of the run, runs) says, and say how it ended."""
    at, count, run_line, runs = state
    held, have = at, 0
    while count < len(lines):
        if at + HEADERS > held + have:
            held, have = at, _filled(file, window, at)
        headers = window[at - held : have]
        if len(headers) < BLOCK or (headers[0] == 0 and not np.any(headers[:BLOCK])):
            state[1] = count
            return DONE
        start, length = _header(headers, path, size, sparse)
        end = at + start + length + (-length) % BLOCK
        if length < 0 or end > total:
            return STRANGE
        start += at
        lines[count, START], lines[count, DATA] = at, start
        lines[count, STOP], lines[count, END] = start + length, end
        own = window[start - BLOCK - held : start - held]
        length, key = _name(own)
        if length < 0:
            return STRANGE
        names[count, :length] = own[:length]
        lines[count, NAME], lines[count, KEY], lines[count, RUN] = length, key, -1
        if key >= 0:
            if not _continues(names, lines, run_line, count):
                run_line, runs = count, runs + 1
            if count - run_line > LONGEST_RUN:
                return STRANGE
            if not _is_repeat(names, lines, run_line, count):
                lines[count, RUN] = runs - 1
        count, at = count + 1, end
    state[0], state[1], state[2], state[3] = at, count, run_line, runs
    return FULL
