"""The datacomp format: the subset file, and embeddings as DataComp's metadata, a parquet and an npz for each shard."""

import re
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from filtering.core.formatting import counted
from filtering.core.uids import PATTERN
from filtering.embedding.artifacts import ROWS_NAME, unit_rows
from filtering.exports.columns import (
    ROWS_AT_ONCE,
    Positions,
    Tables,
    json_fields,
    metadata_rows,
    rows_of,
    tables_of,
    text,
    whole_number,
)
from filtering.exports.copying import scratch_folder
from filtering.exports.job import SUBSET as OWN_SUBSET
from filtering.exports.job import Export, Written
from filtering.exports.parts import Samples
from filtering.manifests.artifacts import SUBSET
from filtering.manifests.finished import Source
from filtering.manifests.written import WrittenManifest
from filtering.runtime.task_spec import task
from filtering.shards.metadata import array_names, read_array
from filtering.shards.names import column
from filtering.storage.store import Store, commit_file, write_chunks

VECTORS_AT_ONCE = 4_096
FIELDS = ("url", "original_width", "original_height", "face_bboxes", "sha256")
# DataComp's names for the two models that it was made with; quickgelu is another activation of the same ones.
MODELS = {"ViT-B-32": "b32", "ViT-L-14": "l14"}
# As zip files have no time before 1980; the same bytes whenever it is written.
ZIP_TIME = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Metadata:
    """How metadata is written: where, from which tables, of every embedded sample or of the kept ones.

    `model` is DataComp's short name of the model that embedded tars, empty if it has none; `look`, whether the JSON
    members of tars are read.
    """

    out: Store
    scratch: Store
    tables: Tables
    model: str
    all: bool
    look: bool


def write_subset(manifest: WrittenManifest, url: str) -> None:
    """Write a finished run's subset.npy as it is, 1 MiB at a time; DamagedError if it is not what was written."""
    write_chunks(url, manifest.chunks(SUBSET))


def export_datacomp(export: Export) -> Written:
    """Write the subset file, and metadata with embeddings; return what the manifest says of it.

    InputError if the kept samples are too many for one subset file.
    """
    export.run.manifest.check_subset_file()
    run, options = export.run, export.options
    tables, model = tables_of(run), run.record["config"]["embedding"]["model"].removesuffix("-quickgelu")
    metadata = Metadata(
        export.out,
        export.scratch,
        tables,
        "" if run.from_metadata else MODELS.get(model, ""),
        options.all,
        not options.no_urls,
    )
    sources = [_whole(source) for source in run.sources] if options.all else run.kept_sources()
    names = _names(sources)
    tasks = [task(name, write_metadata, source, name, metadata) for source, name in zip(sources, names, strict=True)]
    counts = export.write(tasks, "shards")
    write_subset(run.manifest, export.out.path(OWN_SUBSET))
    samples, files = sum(counts), sum(count > 0 for count in counts)
    kept = run.record["totals"]["kept"]
    facts = {"kept": kept, "samples": samples, "files": files, "objects": 2 * files + 2}
    return Written(facts, f"{counted(samples, 'sample')} in {counted(files, 'file')} of metadata")


def write_metadata(source: Source, name: str, metadata: Metadata) -> Samples:
    """Write the parquet and the npz of a shard; nothing where it has no sample.

    Memory: 65,536 rows of metadata; or, for tars, about 1 kB a sample and what `kept_members` takes. Vectors are
    mapped, where they are on a disk; else an array of the shard is in memory at a time.
    """
    rows = metadata.tables.rows(source, ["uid", "key", "caption", "width", "height", "source_row", "clip_score"])
    chosen = np.arange(len(rows)) if metadata.all else rows_of(source, rows)
    if not len(chosen):
        return {"samples": 0}
    rows = rows.take(pa.array(chosen))
    places = rows["source_row"].to_numpy().astype(np.int64)
    with scratch_folder(metadata.scratch) as folder:
        path = folder / "object"
        _write_parquet(path, _parts(source, rows, places, metadata))
        commit_file(metadata.out.path(f"{name}.parquet"), str(path))
        _write_npz(path, _arrays(source, metadata), places)
        commit_file(metadata.out.path(f"{name}.npz"), str(path))
    return {"samples": len(rows)}


def _parts(source: Source, rows: pa.Table, places: Positions, metadata: Metadata) -> Iterator[pa.Table]:
    if metadata.tables.arrays is not None:
        return _with_uids(metadata_rows(source.shard, places), rows["uid"])
    return iter([_described(source, rows, metadata)])


def _with_uids(parts: Iterable[pa.Table], uids: pa.ChunkedArray) -> Iterator[pa.Table]:
    """Yield the rows of a parquet with the uids that the run knows them by: in lower case, or derived."""
    at = 0
    for part in parts:
        known, there = uids.slice(at, len(part)), column(part.column_names, ("uid",))
        at += len(part)
        place = 0 if there is None else part.column_names.index(there)
        yield part.add_column(0, "uid", known) if there is None else part.set_column(place, "uid", known)


def _described(source: Source, rows: pa.Table, metadata: Metadata) -> pa.Table:
    """Return the columns of DataComp's metadata for the samples of a tar."""
    found: list[Mapping[str, object]] = [{} for _ in range(len(rows))]
    if metadata.look:
        found = json_fields(source, FIELDS, metadata.tables.max_image_bytes)
    sizes = {}
    for name in ("width", "height"):
        stored = rows[name].to_pylist()
        own = (whole_number(one.get(f"original_{name}")) for one in found)
        sizes[name] = pa.array([a if a is not None else b for a, b in zip(own, stored, strict=True)], pa.int64())
    score = f"clip_{metadata.model}_similarity_score" if metadata.model else "clip_similarity_score"
    boxes = pa.list_(pa.list_(pa.float64()))
    return pa.table(
        {
            "uid": rows["uid"],
            "key": rows["key"],
            "url": pa.array([text(one.get("url")) for one in found], pa.string()),
            "text": rows["caption"],
            "original_width": sizes["width"],
            "original_height": sizes["height"],
            score: rows["clip_score"],
            "face_bboxes": pa.array([_boxes(one.get("face_bboxes")) for one in found], boxes),
            "sha256": pa.array([text(one.get("sha256")) for one in found], pa.string()),
        }
    )


def _boxes(value: object) -> list[list[float]] | None:
    if not isinstance(value, list) or not all(isinstance(box, list) for box in value):
        return None
    numbers = (number for box in value for number in box)
    plain = all(isinstance(number, int | float) and abs(number) < 1e300 for number in numbers)
    return [[float(number) for number in box] for box in value] if plain else None


def _arrays(source: Source, metadata: Metadata) -> Iterator[tuple[str, npt.NDArray[Any], bool]]:
    """Yield the name of each array, the array, and whether its rows are of length 1 already."""
    embedded, prefix = metadata.tables.embedded(source), f"{metadata.model}_" if metadata.model else ""
    if len(source.shard.vectors) != 1:
        ready = bool(source.shard.vectors)
        yield f"{prefix}img", embedded.images(), ready
        yield f"{prefix}txt", embedded.texts(), ready
        return
    npz, count = source.shard.vectors[0], len(embedded.images())
    for name in array_names(npz.url, npz.version):
        array = read_array(npz.url, name, npz.version)
        if array.ndim and len(array) == count:
            yield name, array, True


def _write_npz(path: Path, arrays: Iterable[tuple[str, npt.NDArray[Any], bool]], rows: Positions) -> None:
    """Write some rows of arrays as an uncompressed npz, a few thousand at a time."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, array, ready in arrays:
            dtype = array.dtype if ready else np.dtype(np.float16)
            described = {"descr": dtype.str, "fortran_order": False, "shape": (len(rows), *array.shape[1:])}
            with archive.open(zipfile.ZipInfo(f"{name}.npy", ZIP_TIME), "w", force_zip64=True) as member:
                np.lib.format.write_array_header_1_0(member, described)
                for start in range(0, len(rows), VECTORS_AT_ONCE):
                    block = np.asarray(array[rows[start : start + VECTORS_AT_ONCE]])
                    member.write((block if ready else unit_rows(block).astype(dtype)).tobytes())


def _write_parquet(path: Path, parts: Iterable[pa.Table]) -> None:
    writer = None
    for part in parts:
        writer = writer or pq.ParquetWriter(path, part.schema, compression="zstd")
        if len(part):
            writer.write_table(part, row_group_size=ROWS_AT_ONCE)
    if writer:
        writer.close()


def _whole(source: Source) -> Source:
    """Return a shard with all its embedded samples as the kept ones."""
    return replace(
        source, store=source.embedded().store, table_name=ROWS_NAME.format(source.shard.identity), mark="", checksum=""
    )


def _names(sources: Sequence[Source]) -> list[str]:
    """Return a name of 32 hex digits for each shard: its own, if it is such a one and no other shard has it."""
    own = [source.shard.name.removesuffix(".parquet") for source in sources]
    times = Counter(own)
    places = (f"{source.shard.index:08d}/{source.shard.name}".encode() for source in sources)
    return [
        name if re.fullmatch(PATTERN, name) and times[name] == 1 else blake2b(place, digest_size=16).hexdigest()
        for name, place in zip(own, places, strict=True)
    ]
