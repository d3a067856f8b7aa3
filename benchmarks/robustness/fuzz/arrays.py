"""An npz, stored or deflated, damaged bytewise and by member, with right and with wrong checksums."""

import io
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.robustness.fuzz.kinds import Input, must
from benchmarks.robustness.fuzz.metadata import Metadata, valid_arrays
from filtering.core.errors import InputError
from filtering.shards.metadata import read_array
from filtering.storage.store import write_object
from tests.support.mutations import Noise, fields, mutated

# The same file where it is not mapped but read as a stream.
ELSEWHERE = "memory://fuzz/arrays.npz"
DTYPES = ("<f2", "<f4", "<f8", ">f4", "|u1", "<i8", "|b1", "<c8", "|S4", "<U2", "|V2", "|O", "<M8[s]", "[('a', '<f4')]")
SHAPES: tuple[str, ...] = ("(40, 16)", "(16, 40)", "(40,)", "()", "(640,)", "(40, 0)", "(0, 16)", "(40, 16, 1)")
SHAPES += (
    "(40, 8)",
    "(20, 32)",
    "(-1, 16)",
    "(40, 10**9)",
    "(4611686018427387904, 4)",
    "(40.0, 16)",
    "(True, 16)",
    "(40, 15)",
    "(39, 16)",
)


class Npzs(Metadata):
    """Reads the shard whose npz an input is, and its arrays both ways."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.values = dict(_values())
        self.forms = {name: _zipped(arrays, name) for name, arrays in self.values.items()}

    def make(self, noise: Noise) -> Input:
        """Change bytes, the numbers of the zip's directory, or a member with its checksum or without it."""
        form = noise.choice([*self.forms])
        whole, draw = self.forms[form], noise.random()
        if draw < 0.4:
            return Input(form, *mutated(noise, whole, [*self.forms.values()]))
        if draw < 0.6:
            start = whole.index(b"PK\1\2")
            return Input(form, "directory", whole[:start] + fields(noise, whole[start:]))
        members = {name: _npy(values) for name, values in self.values[form].items()}
        names = noise.choice([["l14_img"], ["l14_txt"], ["l14_img", "l14_txt"]])
        seed, summed = noise.random(), noise.random() < 0.3
        changed = {name: _member(Noise(seed), members[name]) for name in names}
        data = _rezipped(members, changed, form, summed)
        return Input(form, "member, its sum right" if summed else "member, its sum wrong", data, consistent=summed)

    def read(self, given: Input) -> str:
        """Read it beside a valid table; values that are taken must be the valid file's, where a checksum tells."""
        self.arrays.write_bytes(given.data)
        outcome = self.outcome()
        write_object(ELSEWHERE, given.data)
        for name in self.names:
            mapped, streamed = (_tried(url, name) for url in (str(self.arrays), ELSEWHERE))
            same = _equal(mapped, streamed)
            must(
                same,
                f"{name} is another array where it is mapped than where it is read: {_kind(mapped)}, {_kind(streamed)}",
            )
            # A splice may leave another whole file at the end, where a zip is read from.
            right = given.consistent or mapped is None or any(_equal(mapped, one[name]) for one in self.values.values())
            must(right, f"{name} has other values than the file that was damaged: {_kind(mapped)}")
        return outcome


def _values() -> Iterator[tuple[str, dict[str, npt.NDArray[Any]]]]:
    for packing in ("stored", "deflated"):
        for dtype in ("float16", "float32"):
            yield f"{packing} {dtype}", valid_arrays(dtype)
        yield f"{packing} columns", {name: np.asfortranarray(one) for name, one in valid_arrays("float32").items()}
    yield "deflated zeros", {name: np.tile(one[:1], (len(one), 1)) for name, one in valid_arrays("float32").items()}


def _zipped(arrays: Mapping[str, npt.NDArray[Any]], form: str) -> bytes:
    buffer = io.BytesIO()
    save: Any = np.savez_compressed if form.startswith("deflated") else np.savez
    save(buffer, **arrays)
    return buffer.getvalue()


def _npy(values: npt.NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, values)
    return buffer.getvalue()


def _member(noise: Noise, whole: bytes) -> bytes:
    """Return an npy with another header, or with other bytes."""
    if noise.random() < 0.4:
        return mutated(noise, whole)[1]
    length = struct.unpack("<H", whole[8:10])[0]
    dtype, shape, order = noise.choice(DTYPES), noise.choice(SHAPES), noise.choice(["False", "False", "True"])
    known = "<f2" if b"<f2" in whole[:100] else "<f4"
    if noise.random() < 0.5:
        dtype = known
    elif noise.random() < 0.5:
        shape = SHAPES[0]
    text = f"{{'descr': {dtype if dtype[0] == '[' else repr(dtype)}, 'fortran_order': {order}, 'shape': {shape}, }}"
    data = whole[10 + length :]
    data = noise.choice([data, data, data[:100], data + bytes(5000), data + data])
    return whole[:10] + text.encode()[: length - 1].ljust(length - 1) + b"\n" + data


def _rezipped(members: Mapping[str, bytes], changed: Mapping[str, bytes], form: str, summed: bool) -> bytes:
    """Return an npz with some members changed, which have the checksum of the right ones unless `summed`."""
    buffer = io.BytesIO()
    packing = zipfile.ZIP_DEFLATED if form.startswith("deflated") else zipfile.ZIP_STORED
    with zipfile.ZipFile(buffer, "w", packing) as archive:
        for name, data in members.items():
            archive.writestr(f"{name}.npy", changed.get(name, data))
            if name in changed and not summed:
                info = archive.getinfo(f"{name}.npy")
                info.CRC = zlib.crc32(data)
    return buffer.getvalue()


def _tried(url: str, name: str) -> npt.NDArray[Any] | None:
    try:
        return read_array(url, name)
    except InputError:
        return None


def _equal(one: npt.NDArray[Any] | None, other: npt.NDArray[Any] | None) -> bool:
    if one is None or other is None:
        return one is other
    return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()


def _kind(array: npt.NDArray[Any] | None) -> str:
    return "refused" if array is None else f"{array.dtype} {array.shape}"
