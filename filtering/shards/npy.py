"""The headers of npy arrays, which say more than is believed before anything is read or given room."""

import io
import math
from dataclasses import dataclass
from typing import IO, Any

import numpy as np

from filtering.core.errors import first_line

# numpy itself reads no longer header, but takes all the bytes that one says it has before it looks.
HEADER_BYTES = 12 + 10_000
# Rows or columns: more than any file has bytes, and less than what overflows.
MOST = 1 << 62


@dataclass(frozen=True, slots=True)
class ArrayHeader:
    """What an npy says of its array: shape, order and dtype; its data begins `start` bytes after its own begin."""

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype[Any]
    start: int

    @property
    def nbytes(self) -> int:
        """The bytes of its data."""
        return math.prod(self.shape) * self.dtype.itemsize


def npy_header(stream: IO[bytes]) -> ArrayHeader:
    """Return the header of the npy that starts here; ValueError if there is none. No data is read."""
    head = io.BytesIO(stream.read(HEADER_BYTES))
    version = np.lib.format.read_magic(head)
    read_header = {(1, 0): np.lib.format.read_array_header_1_0}.get(version, np.lib.format.read_array_header_2_0)
    try:
        shape, fortran, dtype = read_header(head)
    except Exception as error:
        # numpy hands text to Python's parser, which answers what is odd by SyntaxError, MemoryError and others.
        raise ValueError(f"its header cannot be read ({first_line(error)})") from None
    if any(type(length) is not int or not 0 <= length < MOST for length in shape):
        raise ValueError(f"it says that its shape is {shape}")
    return ArrayHeader(tuple(shape), bool(fortran), dtype, head.tell())
