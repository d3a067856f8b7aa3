"""Uids: 32 hex digits that name a sample in every table and in DataComp's subset files."""

import hashlib
import re
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

UID_LENGTH = 32
PATTERN = re.compile(r"[0-9a-f]{32}")
SUBSET_DTYPE = np.dtype([("f0", "<u8"), ("f1", "<u8")])

Uids = npt.NDArray[np.bytes_]


def uid_array(column: pa.ChunkedArray) -> Uids:
    """Return a table's uid column, checked before, as an array of bytes S32 (n,), without Python objects."""
    whole = pa.chunked_array(column, pa.string()).combine_chunks()
    chunks = whole.chunks if isinstance(whole, pa.ChunkedArray) else [whole]
    parts = [_fixed_width(chunk) for chunk in chunks]
    return np.concatenate([np.zeros(0, dtype="S32"), *parts])


def is_uid(text: object) -> bool:
    """Say whether something is 32 lower-case hex digits."""
    return isinstance(text, str) and PATTERN.fullmatch(text) is not None


def derived_uid(shard: str, key: str) -> str:
    """Return the uid of a sample that brings none: the first 32 hex digits of blake2b over shard/key.

    `shard` is its place (`filtering.core.uid_rule.UidRule.place`).
    """
    # Names on a disk need not be UTF-8; Python holds their other bytes as halves of surrogate pairs.
    return hashlib.blake2b(f"{shard}/{key}".encode("utf-8", "surrogatepass")).hexdigest()[:32]


def content_hash(caption: str, image: bytes) -> int:
    """Return a number below 2^64, never 0, that tells a caption and the bytes of an image, or of a vector, from others.

    Samples of one uid and one content are one sample, repeated.
    """
    text = caption.encode("utf-8", "surrogatepass")
    # Their lengths apart, a caption cannot end in what an image begins with.
    found = hashlib.blake2b(len(text).to_bytes(8, "little") + text, digest_size=8)
    found.update(image)
    return int.from_bytes(found.digest(), "little") or 1


def uid_numbers(uids: Uids) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    """Return the first and the last 16 hex digits of uids as numbers, uint64 (n,) each; their order is that of uids."""
    high, low = np.ascontiguousarray(_halves(uids).astype(np.uint64).T)
    return high, low


def uid_column(high: npt.NDArray[np.uint64], low: npt.NDArray[np.uint64]) -> pa.StringArray:
    """Return the uids of which `uid_numbers` are the numbers, at most 67 million."""
    digits = np.stack([high, low], axis=1).astype(">u8").tobytes().hex().encode()
    offsets = np.arange(0, len(digits) + 1, UID_LENGTH, dtype=np.int32)
    return pa.StringArray.from_buffers(len(high), pa.py_buffer(offsets), pa.py_buffer(digits))


def subset_array(uids: Uids) -> npt.NDArray[np.void]:
    """Return DataComp's subset array: (n,) of two uint64 (first and last 16 hex digits), sorted."""
    subset: npt.NDArray[np.void] = np.sort(_halves(uids).astype("<u8").view(SUBSET_DTYPE).reshape(-1))
    return subset


def sampled(uids: Uids, fraction: float, seed: int) -> npt.NDArray[np.bool_]:
    """Return a mask of about `fraction` of the uids, bool (n,), decided by each uid and the seed alone.

    A fraction of 1 or more takes every one.
    """
    if fraction >= 1:
        return np.ones(len(uids), dtype=bool)
    limit = np.uint64(int(max(fraction, 0.0) * 2**64))
    return np.asarray(hashed(uids, seed) < limit, dtype=bool)


def random_order(uids: Uids, seed: int) -> npt.NDArray[np.int64]:
    """Return a random order, int64 (n,), that the uids and the seed alone decide."""
    return np.lexsort((uids, hashed(uids, seed)))


def _fixed_width(chunk: pa.StringArray) -> Uids:
    fixed = chunk.cast(pa.binary()).cast(pa.binary(32))
    uids: Uids = np.frombuffer(fixed.buffers()[1], dtype="S32", count=len(fixed), offset=32 * fixed.offset)
    return uids


def _halves(uids: Uids) -> npt.NDArray[Any]:
    digits = np.ascontiguousarray(uids, dtype="S32").tobytes().decode("ascii")
    return np.frombuffer(bytes.fromhex(digits), dtype=">u8").reshape(-1, 2)


def hashed(uids: Uids, seed: int) -> npt.NDArray[np.uint64]:
    """Return a number, uint64 (n,), that each uid and the seed alone decide."""
    first, last = _halves(uids).astype(np.uint64).T
    return mixed(first ^ mixed(last ^ mixed(np.array([seed], dtype=np.uint64))))


def mixed(bits: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Scramble 64-bit values (splitmix64's finaliser), so that uids that are no hashes are sampled evenly too."""
    with np.errstate(over="ignore"):
        bits = bits + np.uint64(0x9E3779B97F4A7C15)
        bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return bits ^ (bits >> np.uint64(31))
