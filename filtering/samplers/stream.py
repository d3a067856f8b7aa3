"""The stage of a webdataset pipeline that lets an epoch's samples through, each with its position and weight."""

import json
import warnings
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from filtering.core.errors import InputError
from filtering.core.uid_rule import BY_URL, UidRule
from filtering.core.uids import Uids, derived_uid, is_uid
from filtering.samplers.index import UidIndex

Sample = dict[str, Any]

# webdataset decodes every other name of a sample, and refuses one whose value is no bytes.
POSITION, WEIGHT = "__position__", "__weight__"


class Shown:
    """Lets samples of weight above 0 through and gives each its ``__position__`` (int) and ``__weight__`` (float).

    It belongs before ``decode``, so that no picture is decoded that is not shown. Samples that are not of the pool,
    which the run did not keep, are dropped too: the run's own shards can be read, nothing need be copied.

    Each worker of a DataLoader has the stage as it was when the worker started: forked, it shares the memory of the
    loop; spawned, it is sent a handle to shared memory, because the arrays are held as tensors (36 bytes of /dev/shm
    a sample, once for all workers). So an epoch takes a new stage and a new loader, and `persistent_workers`, which
    would go on with the old epoch's weights, must be off.

    Parameters
    ----------
    index : UidIndex
        The pool's n uids.
    weights : float32 (n,)
        By position in the index; 0 hides a sample.
    uid_of : function of a sample
        Returns its uid, by default `sample_uid` by the index's rule. A sample whose uid is not of the pool is looked up
        by its key.
    """

    def __init__(
        self, index: UidIndex, weights: npt.NDArray[np.float32], uid_of: Callable[[Sample], str | None] | None = None
    ) -> None:
        self._uids = torch.from_numpy(index.uids.view(np.uint8))
        self._weights = torch.tensor(weights)
        self.uid_of = uid_of or partial(sample_uid, uid_rule=index.uid_rule)

    def __call__(self, source: Iterable[Sample]) -> Iterator[Sample]:
        """Yield the samples that are shown, in the order in which they come.

        Parameters
        ----------
        source : iterable of dict
            Samples as webdataset gives them, not yet decoded.

        Yields
        ------
        dict
            A copy of the sample, with ``__position__`` and ``__weight__``.
        """
        uids: Uids = self._uids.numpy().view("S32")
        weights = self._weights.numpy()
        seen = known = 0
        for sample in source:
            seen += 1
            position = _position(uids, self.uid_of(sample))
            # Shards that were written anew may name samples by their uids alone.
            position = _position(uids, sample["__key__"]) if position is None else position
            if position is None:
                continue
            known += 1
            if (weight := float(weights[position])) > 0:
                yield {**sample, POSITION: position, WEIGHT: weight}
        if seen and not known:
            warnings.warn(f"none of {seen} samples is one of the pool's {len(uids)}", RuntimeWarning, stacklevel=2)


def sample_uid(sample: Sample, uid_rule: UidRule = BY_URL) -> str | None:
    """Return the uid of a webdataset sample, as the run named it.

    Parameters
    ----------
    sample : dict
        As webdataset gives it, its JSON decoded or not.
    uid_rule : UidRule, optional
        The run's rule for samples that bring no uid; by default that of a run which says nothing of it.

    Returns
    -------
    str or None
        The uid of the sample's JSON, in lower case; without one what the run derived from shard and key. None where it
        has none the run could have kept.
    """
    fields = sample.get("json", {})
    if not isinstance(fields, dict):
        try:
            fields = json.loads(fields)
        except (ValueError, TypeError, RecursionError):
            return None
    uid = fields.get("uid") if isinstance(fields, dict) else None
    if uid is not None:
        return uid.lower() if isinstance(uid, str) else None
    try:
        return derived_uid(uid_rule.place(str(sample.get("__url__", ""))), str(sample["__key__"]))
    except InputError:
        # Not below the root, so not of the pool.
        return None


def _position(uids: Uids, uid: str | None) -> int | None:
    if uid is None or not is_uid(uid):
        return None
    name = uid.encode()
    position = int(uids.searchsorted(name))
    return position if position < len(uids) and uids[position] == name else None
