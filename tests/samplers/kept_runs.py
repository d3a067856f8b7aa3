"""The least of a finished run that a trainer reads, and uids."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
from finished_runs import run_record, write_sums

from filtering.core import schemas
from filtering.manifests.artifacts import SHARDS, table_name
from filtering.runtime.run_record import RUN
from filtering.storage.store import Store


def uid(number: int) -> str:
    return hashlib.md5(str(number).encode()).hexdigest()


def uids(count: int) -> np.ndarray:
    return np.array([uid(number) for number in range(count)], dtype="S32")


def write_run(folder: Path, shards: dict[str, list[tuple[str, str]]]) -> str:
    """Write a run that kept the (uid, key) pairs of each shard; return its URL."""
    run, lines, number = Store(str(folder)), [], 0
    for index, (url, kept) in enumerate(shards.items()):
        rows = []
        for name, key in kept:
            rows.append(
                {"uid": name, "key": key, "shard": url, "concept": number % 3, "score": number / 8, "rank": number}
            )
            number += 1
        run.write_table(table_name("kept", index), pa.Table.from_pylist(rows, schema=schemas.KEPT))
        counts = {"samples": len(kept), "kept": len(kept), "dropped": 0, "quarantined": 0}
        lines.append(json.dumps({"url": url, **counts, "keys": table_name("kept", index)}) + "\n")
    run.write(SHARDS, "".join(lines).encode())
    write_sums(run)
    run.write_json(RUN, run_record())
    return str(folder)
