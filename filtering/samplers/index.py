"""Uids in ascending order, and where each is among them: the numbering that every array of this package shares."""

import hashlib
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from filtering.core.errors import InputError
from filtering.core.uid_rule import BY_URL, UidRule
from filtering.core.uids import Uids

ABSENT = -1
WIDTH = 32

Positions = npt.NDArray[np.int64]


class UidIndex:
    """The uids of a pool in ascending order; a sample's position among them numbers it.

    A sorted array rather than a dict: 32 bytes a sample instead of about 200, and a worker process that was forked
    keeps sharing its pages, which the reference counts of a dict's keys would copy.

    Parameters
    ----------
    uids : bytes S32 (n,)
        In any order, each once.
    uid_rule : UidRule, optional
        How the pool's samples that bring no uid were given theirs; `kept_samples` gives the run's.

    Raises
    ------
    InputError
        If a uid is there twice.
    """

    def __init__(self, uids: Uids, uid_rule: UidRule = BY_URL) -> None:
        self.uid_rule = uid_rule
        self.uids: Uids = np.sort(np.asarray(uids, dtype="S32"))
        repeated = np.flatnonzero(self.uids[1:] == self.uids[:-1])
        if len(repeated):
            raise InputError(f"uid {self.uids[repeated[0]].decode()} is there more than once; uids must be unique")

    @classmethod
    def numbered(cls, count: int) -> "UidIndex":
        """Return the index of samples that have numbers only: the uid of a sample is its number in hex.

        Parameters
        ----------
        count : int
            How many there are, 0 or more.

        Returns
        -------
        UidIndex
            Positions are the numbers, from 0.

        Raises
        ------
        InputError
            If the count is below 0.
        """
        if count < 0:
            raise InputError(f"a pool of {count} samples cannot be; the count must be 0 or more")
        halves = np.zeros((count, 2), dtype=">u8")
        halves[:, 1] = np.arange(count)
        return cls(np.frombuffer(halves.tobytes().hex().encode(), dtype="S32"))

    def __len__(self) -> int:
        return len(self.uids)

    def find(self, uids: Uids | npt.NDArray[np.str_] | Sequence[str]) -> Positions:
        """Return where uids are.

        Parameters
        ----------
        uids : bytes S32, str, or a list of str (m,)
            Any strings; what is no uid is not there.

        Returns
        -------
        int64 (m,)
            Positions in the index, -1 for those that are not there.

        Raises
        ------
        InputError
            If they are no strings.
        """
        given = _as_bytes(uids)
        found = np.searchsorted(self.uids, given)
        if len(self.uids) == 0:
            return np.full(len(given), ABSENT, dtype=np.int64)
        same = self.uids[np.minimum(found, len(self.uids) - 1)] == given
        return np.where(same, found, ABSENT).astype(np.int64)

    def positions(self, names: Any) -> Positions:
        """Return the positions of samples named by their uids or by their positions.

        Parameters
        ----------
        names : uids or integers (m,)
            Uids as for `find`, or positions: an array, a list or a tensor on the CPU.

        Returns
        -------
        int64 (m,)
            Positions in the index, in the order given.

        Raises
        ------
        InputError
            If one of them is no sample of the pool.
        """
        given = np.asarray(names).reshape(-1)
        if given.dtype.kind not in "iu":
            return self._known(given)
        outside = (given < 0) | (given >= len(self))
        if outside.any():
            raise InputError(f"position {given[outside][0]} is not one of the pool's 0 to {len(self) - 1}")
        return given.astype(np.int64)

    def _known(self, uids: npt.NDArray[Any]) -> Positions:
        found = self.find(uids)
        if (found == ABSENT).any():
            raise InputError(f"uid {uids[found == ABSENT][0].item()!r} is not one of the pool's")
        return found

    @cached_property
    def fingerprint(self) -> int:
        """63 bits that identify the pool: the first of sha256 over its uids."""
        # 63: what a signed integer of torch and of npz can hold.
        return int.from_bytes(hashlib.sha256(self.uids.tobytes()).digest()[:8]) >> 1


def _as_bytes(uids: Any) -> npt.NDArray[np.bytes_]:
    """Return uids as bytes S32; what is longer becomes empty, which no uid is; InputError if they are no strings."""
    given = np.asarray(uids).reshape(-1)
    if len(given) == 0:
        return np.zeros(0, dtype="S32")
    if given.dtype.kind == "U":
        given = _encoded(given)
    if given.dtype.kind != "S":
        raise InputError(f"samples are named by uids or integers, not by {given.dtype}")
    if given.dtype.itemsize > WIDTH:
        given = np.where(np.strings.str_len(given) > WIDTH, b"", given)
    return given.astype("S32")


def _encoded(uids: npt.NDArray[np.str_]) -> npt.NDArray[np.bytes_]:
    try:
        return uids.astype("S")
    except UnicodeEncodeError:
        return np.strings.encode(uids, "utf-8")
