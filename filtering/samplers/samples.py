"""A run's kept samples, read for training."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from filtering.core import schemas
from filtering.core.errors import InputError
from filtering.core.places import PathOrUrl
from filtering.core.uid_rule import UidRule, canonical_url
from filtering.core.uids import Uids, uid_array
from filtering.manifests.written import WrittenManifest
from filtering.runtime import latest
from filtering.runtime.run_record import read_run
from filtering.samplers.index import UidIndex
from filtering.storage.store import Store

# Requests to the storage at once: a pool has many small tables.
READERS = 16
COLUMNS = ["uid", "key", "concept", "score", "rank"]


@dataclass(frozen=True, slots=True)
class KeptSamples:
    """The samples that a run kept, in the order of their uids."""

    index: UidIndex  # the uids; `index.find` and `index.positions` look samples up
    shard_urls: tuple[str, ...]  # the shards that keep anything, in the pool's order: what a loop reads
    shards: npt.NDArray[np.int32]  # int32 (n,), which of `shard_urls` a sample is in
    keys: Any  # pyarrow string (n,), in their shards
    concepts: npt.NDArray[np.int32]  # int32 (n,)
    scores: npt.NDArray[np.float32]  # float32 (n,)
    ranks: npt.NDArray[np.int64]  # int64 (n,)

    @property
    def uids(self) -> Uids:
        """The uids, bytes S32 (n,), ascending."""
        return self.index.uids

    def __len__(self) -> int:
        return len(self.index)


def kept_samples(run_url: PathOrUrl, root: str | None = None) -> KeptSamples:
    """Return the samples that a finished run kept.

    Parameters
    ----------
    run_url : str or path-like
        The run's folder, the `output` of its configuration; ROOT/latest stands for the latest night's.
    root : str, optional
        Where the pool is read from now, if the run had an `input.root` and the pool was moved or copied since.

    Returns
    -------
    KeptSamples
        With every array in memory.

    Raises
    ------
    InputError
        If no finished run is there, a uid is kept twice, or a root is given of a run that had none.
    """
    run = Store(latest.run_url(run_url))
    record = read_run(run)
    uid_rule = _moved(UidRule.recorded(record), root)
    manifest = WrittenManifest(run, record)
    lines = [(index, line["url"]) for index, line in enumerate(manifest.shard_lines()) if line["kept"]]
    with ThreadPoolExecutor(READERS) as readers:
        parts = list(readers.map(lambda line: manifest.table("kept", line[0], COLUMNS), lines))
    shards = np.repeat(np.arange(len(parts), dtype=np.int32), [len(part) for part in parts])
    table = pa.concat_tables(parts) if parts else schemas.KEPT.empty_table()
    return _ordered(table, shards, tuple(url for _, url in lines), uid_rule)


def _moved(rule: UidRule, root: str | None) -> UidRule:
    if root is None:
        return rule
    if rule.root is None:
        raise InputError(f"root: the run had no input.root ({rule}), so the uids of its samples do not follow from one")
    return replace(rule, root=canonical_url(root))


def _ordered(table: pa.Table, shards: npt.NDArray[np.int32], urls: tuple[str, ...], uid_rule: UidRule) -> KeptSamples:
    uids = uid_array(table["uid"])
    order = np.argsort(uids, kind="stable")
    sort = pa.array(order)
    concepts, scores, ranks = (table[name].to_numpy()[order] for name in ("concept", "score", "rank"))
    return KeptSamples(UidIndex(uids, uid_rule), urls, shards[order], table["key"].take(sort), concepts, scores, ranks)
