"""Worker tasks of the manifests stage: split one shard's samples into kept, dropped and quarantined."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, NotRequired

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from typing_extensions import TypedDict

from filtering.concepts.partition import shard_and_row
from filtering.core import schemas
from filtering.core.uids import uid_array
from filtering.filters.artifacts import DUPLICATE_UID, REPEATED, UID_CONFLICT, PassingShard
from filtering.manifests.artifacts import REPEAT, Kind, at_least, table_name
from filtering.manifests.picks import Picked
from filtering.manifests.repeats import Repeats
from filtering.runtime.shuffle import Records
from filtering.selection.artifacts import PICK
from filtering.storage.checksums import table_bytes
from filtering.storage.store import Store, checksum

REPEAT_DETAILS = {
    DUPLICATE_UID: " was seen before in the pool",
    UID_CONFLICT: " is that of an earlier sample of the pool, whose caption or image is another",
}


class ShardSplit(TypedDict):
    """A shard's samples by outcome, its dropped and quarantined ones by reason, and the checksums of its tables."""

    kept: int
    dropped: int
    quarantined: int
    reasons: dict[str, dict[str, int]]
    checksums: dict[str, str]
    # How many of the kept are seen at least once in an epoch, at least twice, and so on, where samples are weighed
    repeats: NotRequired[list[int]]


def split_shard(
    shard: PassingShard,
    steps: Sequence[str],
    picked: Sequence[Picked],
    run: Store,
    repeats: Repeats | None = None,
) -> ShardSplit:
    """Write a shard's kept, dropped and quarantined tables; of each step, its reason and where its picks are.

    With `repeats` the kept table says how often each sample is seen in an epoch.
    """
    rows = shard.embedded.rows(["uid", "key"])
    reasons = np.array(shard.reasons().fill_null("").to_pylist(), dtype=object)
    picks, rows_picked = np.zeros(0, PICK), np.zeros(0, np.int64)
    for reason, step in zip(steps, picked, strict=True):
        picks = step.picks(shard.index)
        rows_picked = shard_and_row(picks["row"])[1]
        missing = reasons == ""
        missing[rows_picked] = False
        reasons[missing] = reason
    url = shard.embedded.shard.url
    tables: dict[Kind, pa.Table] = {
        "kept": _kept(rows, picks, rows_picked, url, repeats),
        "dropped": _dropped(rows, reasons, url),
        "quarantined": _quarantined(shard, rows, reasons, url),
    }
    found = ShardSplit(
        kept=len(tables["kept"]),
        dropped=len(tables["dropped"]),
        quarantined=len(tables["quarantined"]),
        reasons={kind: dict(Counter(tables[kind]["reason"].to_pylist())) for kind in ("dropped", "quarantined")},
        checksums=dict(_write(run, table_name(kind, shard.index), table) for kind, table in tables.items()),
    )
    if repeats is not None:
        found["repeats"] = at_least(tables["kept"][REPEAT].to_numpy())
    return found


def _write(run: Store, name: str, table: pa.Table) -> tuple[str, str]:
    data = table_bytes(run.path(name), table)
    run.write(name, data)
    return name, checksum(data)


def _kept(rows: pa.Table, picks: Records, picked: npt.NDArray[np.int64], url: str, repeats: Repeats | None) -> pa.Table:
    order = np.argsort(picked)
    chosen = rows.take(pa.array(picked[order]))
    columns = [chosen["uid"], chosen["key"], pa.array([url] * len(order), pa.string())]
    found = (pa.array(picks[name][order]) for name in ("concept", "score", "rank"))
    table = pa.table([*columns, *found], schema=schemas.KEPT)
    if repeats is None:
        return table
    times = repeats.cap.repeats(uid_array(table["uid"]), table["score"].to_numpy(), repeats.bound)
    return pa.table([*table.columns, pa.array(times)], schema=schemas.REPEATED)


def _dropped(rows: pa.Table, reasons: npt.NDArray[Any], url: str) -> pa.Table:
    here = (reasons != "") & ~np.isin(reasons, REPEATED)
    chosen = rows.filter(pa.array(here))
    columns = [chosen["uid"], chosen["key"], pa.array([url] * len(chosen), pa.string())]
    return pa.table([*columns, pa.array(reasons[here], pa.string())], schema=schemas.DROPPED)


def _quarantined(shard: PassingShard, rows: pa.Table, reasons: npt.NDArray[Any], url: str) -> pa.Table:
    here = np.isin(reasons, REPEATED)
    repeated, why = rows.filter(pa.array(here)), reasons[here]
    ends = pa.array([REPEAT_DETAILS[reason] for reason in why], pa.string())
    details = pc.binary_join_element_wise("uid ", repeated["uid"], ends, "")
    columns = [
        pa.array([url] * len(repeated), pa.string()),
        repeated["key"],
        repeated["key"],
        pa.array(why, pa.string()),
        details,
    ]
    return pa.concat_tables([shard.embedded.quarantined(), pa.table(columns, schema=schemas.QUARANTINED)])
