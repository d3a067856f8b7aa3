import io
import struct

import pytest

from filtering.shards.npy import npy_header


@pytest.mark.parametrize(
    "text",
    [
        "{'descr': ',', 'fortran_order': False, 'shape': (2, 2)}",
        "{'descr': '<f2' * 99, 'fortran_order': False, 'shape': (2, 2)}",
        "{'descr': '<f2', 'fortran_order': False, 'shape': " + "(" * 3_000,
        "-" * 9_000 + "1",
        "'",
        "\0",
    ],
)
@pytest.mark.parametrize("version", [1, 2])
def test_a_header_that_python_cannot_parse_is_a_value_error(text, version):
    length = struct.pack("<H" if version == 1 else "<I", len(text) + 1)
    data = b"\x93NUMPY" + bytes([version, 0]) + length + text.encode() + b"\n"
    with pytest.raises(ValueError, match="header cannot be read"):
        npy_header(io.BytesIO(data))


@pytest.mark.parametrize("shape", ["(True, 4)", "(2.0, 4)", "(-1, 4)", "(2**70, 1)", f"({2**70}, 0)", "('a', 4)"])
def test_a_shape_that_no_array_has_is_a_value_error(shape):
    text = f"{{'descr': '<f2', 'fortran_order': False, 'shape': {shape}}}\n".encode()
    with pytest.raises(ValueError, match=r"header cannot be read|its shape is"):
        npy_header(io.BytesIO(b"\x93NUMPY\x01\0" + struct.pack("<H", len(text)) + text))
