"""A finished run over tars that already are there, without running it: what exports read of one."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from filtering.config.input import Input
from filtering.core import schemas
from filtering.core.uids import subset_array
from filtering.embedding.artifacts import OFFSETS_NAME
from filtering.embedding.locations import ShardLocation, write_locations
from filtering.manifests.artifacts import CHECKSUMS, SHARDS, SUBSET, table_name
from filtering.manifests.by_uid import subset_bytes
from filtering.runtime.run_record import OUTCOMES, RUN
from filtering.shards.inventory import Shard, list_shards, write_inventory
from filtering.shards.offsets import Span, offsets_of, write_offsets
from filtering.shards.samples import Sample, read_samples
from filtering.storage.store import Store, checksum, stream_object

MAX_IMAGE_BYTES = 128 << 20


def write_finished(
    folder: Path | str,
    pool: Path | str | Sequence[str],
    keeps: Callable[[str], bool] = lambda uid: True,
    noted: bool = True,
) -> Store:
    """Write a run that kept the usable samples of some tars that `keeps` says yes to, by their uid.

    With `noted`, it has noted where samples stand in their shards, as the embedding does; older versions did not.
    """
    run, shards = Store(str(folder)), list_shards(Input(shards=pool if isinstance(pool, tuple) else str(pool)))
    write_inventory(run.child("stages/inventory-0"), shards)
    uids, lines = list[str](), list[str]()
    for shard in shards:
        samples = usable(shard)
        kept = [(one.uid, one.key) for one in samples if keeps(one.uid)]
        rows = [_row(uid, key, shard, rank) for rank, (uid, key) in enumerate(kept)]
        run.write_table(table_name("kept", shard.index), pa.Table.from_pylist(rows, schema=schemas.KEPT))
        counts = {"samples": len(samples), "kept": len(kept), "dropped": len(samples) - len(kept), "quarantined": 0}
        lines.append(json.dumps({"url": shard.url, **counts, "keys": table_name("kept", shard.index)}) + "\n")
        uids += [uid for uid, _ in kept]
    run.write(SHARDS, "".join(lines).encode())
    run.write(SUBSET, subset_bytes(subset_array(np.array(uids, dtype="S32"))))
    write_sums(run)
    totals = dict.fromkeys(OUTCOMES, 0) | {"input": len(uids), "kept": len(uids)}
    run.write_json(RUN, run_record(totals=totals))
    if noted:
        note_offsets(run, {shard: [(one.key, one.span) for one in usable(shard)] for shard in shards})
    return run


def note_offsets(run: Store, spans: Mapping[Shard, Iterable[tuple[str, Span]]]) -> None:
    """Add to a run what its embedding would have noted: where samples stand in their shards."""
    record, folder = run.read_json(RUN), run.child("stages/embedding-0")
    record["objects"]["embedding"] = "stages/embedding-0"
    record["stages"] = [{"name": "embedding", "fingerprint": "0"}]
    run.write_json(RUN, record)
    write_locations(folder, "0", {shard.identity: ShardLocation(folder, 0, 0, 0) for shard in spans})
    for shard, found in spans.items():
        write_offsets(folder, OFFSETS_NAME.format(shard.identity), offsets_of(found))


def usable(shard: Shard) -> list[Sample]:
    """Return every sample of a shard that can be kept."""
    with stream_object(shard.url) as stream:
        return [one for one in read_samples(stream, shard.name) if isinstance(one, Sample)]


def _row(uid: str, key: str, shard: Shard, rank: int) -> dict:
    return {"uid": uid, "key": key, "shard": shard.url, "concept": 0, "score": 1.0, "rank": rank}


def run_record(**changed: object) -> dict:
    """Return what every run.json holds, of a run over tars; some keys may be given."""
    names = ("run_id", "config_hash", "manifest_hash")
    embedding = {"model": "demo", "max_image_bytes": MAX_IMAGE_BYTES}
    known = {
        "config": {"input": {"shards": "pool", "metadata": None}, "embedding": embedding},
        "versions": {},
        "stages": [],
        "recall": 1.0,
        "totals": dict.fromkeys(OUTCOMES, 0),
        "reasons": {},
        "warnings": [],
        "objects": {"inventory": "stages/inventory-0", "embedding": "stages/embedding-0"},
    }
    return dict.fromkeys(names, "0") | known | changed


def hash_of(run: Path) -> str:
    """The hash of a finished run's manifest."""
    return str(json.loads((run / "run.json").read_text())["manifest_hash"])


def write_sums(run: Store) -> None:
    """Write checksums.json of what is in a run's manifest: last, as the manifests stage does."""
    names = [f"manifest/{name}" for name in run.child("manifest").sizes()]
    run.write_json(CHECKSUMS, {name: checksum(run.read(name)) for name in names if name != CHECKSUMS})
