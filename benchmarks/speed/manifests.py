"""The manifests of a whole pool, made by ranges of uids and as before: of all kept samples in one memory.

    python -m benchmarks.speed.manifests [--rows N ...] [--shard-rows N] [--json OUT] [--plot OUT]

Kept tables are written first; each way then reads them in a fresh process, one task after the other on one CPU. Prints
seconds, the peak memory of that process, and shares of those of one memory; both must make the same files.
"""

import hashlib
import sys
import tempfile
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pyarrow as pa

from benchmarks.lib import processes
from benchmarks.lib.arguments import add_outputs, parser_of
from benchmarks.lib.tables import Row, print_table, write_outputs
from benchmarks.lib.timing import timed
from filtering.core import schemas
from filtering.core.uids import subset_array, uid_array
from filtering.manifests.artifacts import HASHED_ROWS, SUBSET, read_split, table_name
from filtering.manifests.by_uid import subset_bytes
from filtering.manifests.pool_stage import write_pool_files
from filtering.runtime.stage import StageRun
from filtering.runtime.task_spec import TaskSpec
from filtering.runtime.worker import peak_memory_bytes, release_memory, reset_peak_memory
from filtering.storage.outputs import checksum_of
from filtering.storage.store import Store

ONE, RANGES = "one memory", "ranges of uids"
Found = tuple[str, str]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = parser_of(__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 10_000_000])
    parser.add_argument("--shard-rows", type=int, default=100_000)
    add_outputs(parser)
    given = parser.parse_args(arguments)
    rows = [row for count in given.rows for row in _compared(count, given.shard_rows)]
    print_table(rows)
    write_outputs(rows, given.json, given.plot)
    return 0


def _compared(rows: int, shard_rows: int) -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="filtering-benchmark-") as folder:
        run = Store(folder)
        kept = [min(shard_rows, rows - start) for start in range(0, rows, shard_rows)]
        for shard, count in enumerate(kept):
            run.write_table(table_name("kept", shard), _kept(shard, count))
        before, after = (processes.apart(_measured, way, folder, kept) for way in (ONE, RANGES))
    if before["found"] != after["found"]:
        sys.exit("the ways made other files")
    for one in (before, after):
        del one["found"]
        for name in ("seconds", "peak MB"):
            one[f"{name}, share"] = round(one[name] / before[name], 2)
    return [{"way": f"{way}, {rows:,} rows", **one} for way, one in ((ONE, before), (RANGES, after))]


def _kept(shard: int, count: int) -> pa.Table:
    digits = np.random.default_rng(shard).bytes(16 * count).hex()
    columns = {
        "uid": [digits[at : at + 32] for at in range(0, len(digits), 32)],
        "key": [f"{shard * 10_000 + at:012d}" for at in range(count)],
        "shard": [f"s3://pool/{shard:08d}.tar"] * count,
    }
    numbers = {"concept": np.zeros(count, np.int32), "score": np.ones(count, np.float32), "rank": np.arange(count)}
    return pa.table({**columns, **numbers}, schema=schemas.KEPT)


def _measured(way: str, folder: str, kept: list[int]) -> Row:
    run = Store(folder)
    release_memory()
    reset_peak_memory()
    seconds, found = timed(lambda: WAYS[way](run, kept))
    return {"seconds": round(seconds, 2), "peak MB": peak_memory_bytes() >> 20, "found": found}


def _in_one_memory(run: Store, kept: list[int]) -> Found:
    tables = [read_split(run, "kept", shard, ["uid", "key"]) for shard in range(len(kept))]
    data = subset_bytes(subset_array(np.concatenate([uid_array(table["uid"]) for table in tables])))
    run.write(SUBSET, data)
    return hashlib.sha256(data).hexdigest(), _hash_of(tables)


def _hash_of(tables: Sequence[pa.Table]) -> str:
    """Return the hash of the selection, line by line."""
    lines, ordered = hashlib.sha256(), pa.concat_tables(tables).sort_by([("uid", "ascending"), ("key", "ascending")])
    for batch in ordered.to_batches(max_chunksize=HASHED_ROWS):
        pairs = zip(batch["uid"].to_pylist(), batch["key"].to_pylist(), strict=True)
        lines.update("".join(f"{uid}\t{key}\n" for uid, key in pairs).encode())
    return lines.hexdigest()


def _by_ranges(run: Store, kept: list[int]) -> Found:
    files = write_pool_files(cast(StageRun, _Stage(run)), kept)
    return checksum_of(run.path(SUBSET)), files.hash


class _Stage:
    """A stage whose tasks run here, one after the other, each after the memory of the one before was given back."""

    def __init__(self, run: Store) -> None:
        self.store, self.runtime = run.child("stages/manifests"), SimpleNamespace(store=run)

    def map(self, tasks: Sequence[TaskSpec[Any]], unit: str) -> list[Any]:
        return [self._done(task) for task in tasks]

    def call(self, name: str, function: Callable[..., Any], *arguments: Any) -> Any:
        return function(*arguments)

    def _done(self, task: TaskSpec[Any]) -> Any:
        assert task.function is not None
        found = task.function(*task.args, **task.kwargs)
        release_memory()
        return found


WAYS = {ONE: _in_one_memory, RANGES: _by_ranges}


if __name__ == "__main__":
    sys.exit(main())
