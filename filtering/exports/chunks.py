"""The formats mds and litdata: kept samples in the files that MosaicML Streaming and LitData read at random.

Their files are alike (MDS version 2, LitData's PyTreeLoader): how many samples there are, where each begins, then the
samples, each as the sizes of its columns and their bytes. MDS has a description of the columns before the samples.
Columns are in the order of their names, as MDS wants them. Neither package is needed to write them.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from filtering.core.errors import InputError
from filtering.core.formatting import counted
from filtering.exports.copying import scratch_folder
from filtering.exports.job import Export, Written
from filtering.exports.members import kept_members
from filtering.exports.options import CHUNK_SAMPLES
from filtering.exports.parts import Samples
from filtering.exports.tar_export import cut, placed_parts
from filtering.exports.tars import Placed, Target, between, misplaced
from filtering.runtime.task_spec import task
from filtering.shards.samples import chosen_members, member_limits
from filtering.storage.store import commit_file, digest

COLUMNS = {"caption": "str", "extension": "str", "image": "bytes", "json": "bytes", "key": "str", "uid": "str"}
INDEX = "index.json"
# Places in a file are 32 bits.
MOST_BYTES = (1 << 32) - 1


class File(NamedTuple):
    """A file that was written: its name, samples and bytes."""

    name: str
    samples: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Form:
    """A format: the name of its files by number, what stands before their samples, and what its index says of them."""

    name: str
    head: bytes
    index: Callable[[Sequence[File]], Mapping[str, object]]


MDS_SHARD: Mapping[str, object] = {
    "column_encodings": list(COLUMNS.values()),
    "column_names": list(COLUMNS),
    "column_sizes": [None] * len(COLUMNS),
    "compression": None,
    "format": "mds",
    "hashes": [],
    "size_limit": None,
    "version": 2,
}


def _mds_index(files: Sequence[File]) -> Mapping[str, object]:
    raw = ({"basename": file.name, "bytes": file.bytes, "hashes": {}} for file in files)
    found = zip(files, raw, strict=True)
    shards = [{**MDS_SHARD, "raw_data": data, "samples": file.samples, "zip_data": None} for file, data in found]
    return {"shards": shards, "version": 2}


def _litdata_index(files: Sequence[File]) -> Mapping[str, object]:
    leaf: dict[str, Any] = {"type": None, "context": None, "children_spec": []}
    spec = {"type": "builtins.dict", "context": json.dumps(list(COLUMNS)), "children_spec": [leaf] * len(COLUMNS)}
    config: dict[str, Any] = dict.fromkeys(("compression", "encryption", "chunk_size"))
    config |= {"chunk_bytes": max((file.bytes for file in files), default=0), "data_format": list(COLUMNS.values())}
    config |= {"data_spec": json.dumps([1, spec]), "item_loader": "PyTreeLoader"}
    chunks = [{"chunk_bytes": f.bytes, "chunk_size": f.samples, "dim": None, "filename": f.name} for f in files]
    # LitData takes what it has cached for stale where this differs.
    return {"chunks": chunks, "config": config, "updated_at": digest(chunks)}


MDS = Form("shard.{:05d}.mds", json.dumps(MDS_SHARD, sort_keys=True).encode(), _mds_index)
LITDATA = Form("chunk-0-{}.bin", b"", _litdata_index)


def export_mds(export: Export) -> Written:
    """Write the shards and index.json that MosaicML Streaming reads; return what the manifest says of them."""
    return _export(export, MDS)


def export_litdata(export: Export) -> Written:
    """Write the chunks and index.json that LitData reads; return what the manifest says of them."""
    return _export(export, LITDATA)


def _export(export: Export, form: Form) -> Written:
    run, each = export.run, export.options.samples or CHUNK_SAMPLES
    limit = run.record["config"]["embedding"]["max_image_bytes"]
    sources = run.kept_times() if export.options.repeat else run.kept_sources()
    target = Target(export.out, export.scratch, each, False, limit)
    kept = [source.kept for source in sources]
    parts = cut(target, kept, 1, placed_parts(sources, [True] * len(sources))) if sources else []
    tasks = [
        task(f"chunk-{number:08d}", write_chunk, number, some, form.name, form.head, target)
        for number, some in enumerate(parts)
    ]
    counts = export.write(tasks, "files")
    sizes = {name: size for part in export.parts.values() for name, size in part["objects"].items()}
    names = [form.name.format(number) for number in range(len(counts))]
    files = [File(name, count, sizes[name]) for name, count in zip(names, counts, strict=True)]
    export.out.write_json(INDEX, form.index(files))
    facts = {
        "kept": run.record["totals"]["kept"],
        "samples": sum(counts),
        "files": len(files),
        "objects": len(files) + 2,
        "columns": list(COLUMNS),
    }
    return Written(facts, f"{counted(sum(counts), 'sample')} in {counted(len(files), 'file')}")


def write_chunk(number: int, parts: Sequence[Placed], name: str, head: bytes, target: Target) -> Samples:
    """Write the file of a number: `target.each` samples of some shards, each shard's in the order of its bytes.

    Memory is that of `kept_members` for one shard, and a sample. InputError if a place does not fit into 32 bits.
    """
    samples = (one for placed in parts for one in _samples(placed, number, target))
    with scratch_folder(target.scratch) as folder:
        path = folder / "object"
        count = _write(path, samples, sum(_here(placed, number, target)[1] for placed in parts), head)
        commit_file(target.out.path(name.format(number)), str(path))
    return {"samples": count}


def _write(path: Path, samples: Iterator[bytes], count: int, head: bytes) -> int:
    """Write a file of so many samples, and return how many there were."""
    ends = [4 * (count + 2) + len(head)]
    with path.open("wb") as file:
        file.seek(ends[0])
        for sample in samples:
            file.write(sample)
            ends.append(ends[-1] + len(sample))
        if ends[-1] > MOST_BYTES:
            raise InputError(
                f"--samples: {count:,} samples have more than 4 GiB, which one file cannot hold; give fewer"
            )
        file.seek(0)
        file.write(np.array([count, *ends], dtype="<u4").tobytes() + head)
    return len(ends) - 1


def _here(placed: Placed, number: int, target: Target) -> tuple[int, int]:
    """Return the first of a shard's kept samples that the file of a number has, and how many it has."""
    here = between(placed.position + np.arange(placed.source.kept), number, target)
    return here.start, here.stop - here.start


def _samples(placed: Placed, number: int, target: Target) -> Iterator[bytes]:
    """Yield samples as they stand in a file."""
    source = placed.source
    table = source.samples(["uid", "key"]).slice(*_here(placed, number, target))
    keys, uids = table["key"].to_pylist(), table["uid"].to_pylist()
    for row, group in kept_members(source, keys, target.max_image_bytes, member_limits(target.max_image_bytes)):
        image, caption, metadata = chosen_members(group)
        if image is None or image.data is None:
            raise misplaced(source, keys[row])
        extension = image.name.rpartition("/")[2].partition(".")[2]
        texts = [part.data or b"" if part else b"" for part in (caption, metadata)]
        yield _packed(texts[0], extension.encode(), image.data, texts[1], keys[row].encode(), uids[row].encode())


def _packed(*columns: bytes) -> bytes:
    return np.array([len(column) for column in columns], dtype="<u4").tobytes() + b"".join(columns)
