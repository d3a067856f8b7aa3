"""Finished runs over tars, as far as training reads them, and the seats of nodes and workers."""

import contextlib
import io
import json
import os
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import pyarrow as pa
import torch.utils.data
import webdataset
from finished_runs import note_offsets, run_record, write_sums

from filtering.config.input import Input
from filtering.core import schemas
from filtering.core.uids import derived_uid
from filtering.manifests.artifacts import SHARDS, table_name
from filtering.runtime.run_record import RUN
from filtering.shards.inventory import Shard, list_shards, write_inventory
from filtering.shards.members import MissingSamplesError, groups_by_key
from filtering.shards.offsets import Span
from filtering.storage.store import Store

Samples = list[tuple[str, dict[str, bytes]]]


def write_kept(folder: Path | str, urls: Iterable[str], kept: Mapping[str, Iterable[str]], noted: bool = False) -> str:
    """Write a run over shards that kept the keys of each; return its URL.

    With `noted`, it has noted where they stand in their shards, as the embedding does; older versions did not.
    """
    run, lines = Store(str(folder)), []
    shards = list_shards(Input(shards=list(urls)))
    for shard in shards:
        keys = list(kept.get(shard.url, ()))
        names = [derived_uid(shard.name, key) for key in keys]
        rest = {"shard": shard.url, "concept": 0, "score": 0.0, "rank": 0}
        rows = [{"uid": uid, "key": key, **rest} for uid, key in zip(names, keys, strict=True)]
        run.write_table(table_name("kept", shard.index), pa.Table.from_pylist(rows, schema=schemas.KEPT))
        counts = {"samples": len(keys), "kept": len(keys), "dropped": 0, "quarantined": 0}
        lines.append({"url": shard.url, **counts, "keys": table_name("kept", shard.index)})
    run.write(SHARDS, "".join(f"{json.dumps(line)}\n" for line in lines).encode())
    write_sums(run)
    write_inventory(run.child("stages/inventory-0"), shards)
    objects = {"inventory": "stages/inventory-0"}
    run.write_json(RUN, run_record(objects=objects, manifest_hash="0" * 64))
    if noted:
        note_offsets(run, {shard: list(_spans(shard, list(kept.get(shard.url, ())))) for shard in shards})
    return run.url


def _spans(shard: Shard, keys: list[str]) -> Iterator[tuple[str, Span]]:
    with contextlib.suppress(MissingSamplesError):
        for group in groups_by_key(shard.url, keys, lambda name: 1 << 30, hold=False):
            yield group.key, group.span


def tar_of(samples: Samples, form: int = tarfile.PAX_FORMAT) -> bytes:
    """The tar of samples: each a key, and the bytes of its members by extension."""
    members = [(f"{key}.{extension}", data) for key, parts in samples for extension, data in parts.items()]
    return tar_of_members(members, form)


def tar_of_members(members: Iterable[tuple[str, bytes]], form: int = tarfile.PAX_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(data), 1.5 if form == tarfile.PAX_FORMAT else 1
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def by_webdataset(url: str) -> list[dict]:
    """All samples of a tar, as webdataset reads them."""
    return list(webdataset.tarfile_to_samples()([{"url": url}]))


@contextlib.contextmanager
def seat(rank: int = 0, nodes: int = 1, worker: int = 0, workers: int = 0):
    """Pretend to be a worker of a node; 0 workers is a loop without a loader."""
    node = {"RANK": str(rank), "WORLD_SIZE": str(nodes)} if nodes > 1 else {}
    info = SimpleNamespace(id=worker, num_workers=workers) if workers else None
    with mock.patch.dict(os.environ, node), mock.patch.object(torch.utils.data, "get_worker_info", lambda: info):
        yield


def pool_of(folder: Path, tars: list[bytes]) -> list[str]:
    paths = [folder / f"{number:08d}.tar" for number in range(len(tars))]
    for path, data in zip(paths, tars, strict=True):
        path.write_bytes(data)
    return [str(path) for path in paths]


def numbered(folder: Path, shards: int = 6, samples: int = 10) -> list[str]:
    names = [[f"{shard:02d}{at:03d}" for at in range(samples)] for shard in range(shards)]
    return pool_of(
        folder, [tar_of([(key, {"jpg": key.encode() * 9000, "txt": key.encode()}) for key in keys]) for keys in names]
    )


def even(url: str) -> list[str]:
    return [sample["__key__"] for sample in by_webdataset(url) if int(sample["__key__"]) % 2 == 0]


def keys(samples) -> list[str]:
    return [sample["__key__"] for sample in samples]


def place(sample) -> tuple[str, str]:
    return sample["__url__"], sample["__key__"]
