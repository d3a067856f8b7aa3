"""Writes webdataset shards laid out as img2dataset does, the same bytes for the same samples."""

import io
import json
import tarfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from filtering.core.errors import InputError

__all__ = ["PARQUET_SCHEMA", "ShardSample", "write_shard"]

PARQUET_SCHEMA = pa.schema(
    [
        ("uid", pa.string()),
        ("caption", pa.string()),
        ("url", pa.string()),
        ("key", pa.string()),
        ("status", pa.string()),
        ("error_message", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("original_width", pa.int32()),
        ("original_height", pa.int32()),
        ("exif", pa.string()),
        ("sha256", pa.string()),
    ]
)
"""Columns of the ``.parquet`` file beside every tar."""

# A fraction of a second cannot be held by a plain tar header, so it forces the PAX
# headers that webdataset's writer produces and that readers must cope with.
_MTIME = 1700000000.25


@dataclass(frozen=True, slots=True)
class ShardSample:
    """One sample as it goes into a tar; neither its image nor its caption is checked, and None leaves the member out.

    The metadata is the ``.json`` member and the parquet row, by column of `PARQUET_SCHEMA`; columns it lacks are null
    in the parquet, except ``key``.
    """

    key: str
    image: bytes | None
    caption: bytes | None
    metadata: Mapping[str, object] = field(default_factory=dict)
    image_extension: str = "jpg"


def write_shard(directory: str | Path, index: int, samples: Sequence[ShardSample]) -> Path:
    """Write one shard, a tar, its parquet and its statistics, over files of the same names, and return the tar.

    The folder is made if absent; `index` is the eight digits of the files' names. InputError if two samples share a
    key, or a key has a dot or a slash in it.
    """
    _check_keys(samples)
    folder = Path(directory)
    folder.mkdir(parents=True, exist_ok=True)
    tar = folder / f"{index:08d}.tar"
    _write_tar(tar, samples)
    rows = [{"key": sample.key, **sample.metadata} for sample in samples]
    pq.write_table(pa.Table.from_pylist(rows, schema=PARQUET_SCHEMA), tar.with_suffix(".parquet"))
    (folder / f"{index:08d}_stats.json").write_text(_json(_statistics(samples)), encoding="utf-8")
    return tar


def _check_keys(samples: Sequence[ShardSample]) -> None:
    for key, count in Counter(sample.key for sample in samples).items():
        if count > 1:
            raise InputError(f"key {key!r} belongs to {count} samples of one shard; keys must be unique")
        if not key or "." in key or "/" in key:
            raise InputError(f"key {key!r} must be non-empty and free of dots and slashes")


def _write_tar(path: Path, samples: Sequence[ShardSample]) -> None:
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        for sample in samples:
            for extension, data in sorted(_members(sample)):
                tar.addfile(_header(f"{sample.key}.{extension}", len(data)), io.BytesIO(data))


def _members(sample: ShardSample) -> Iterator[tuple[str, bytes]]:
    if sample.image is not None:
        yield sample.image_extension, sample.image
    yield "json", _json(sample.metadata).encode()
    if sample.caption is not None:
        yield "txt", sample.caption


def _header(name: str, size: int) -> tarfile.TarInfo:
    header = tarfile.TarInfo(name)
    header.size = size
    header.mtime = _MTIME
    header.mode = 0o444
    header.uname = header.gname = "bigdata"
    return header


def _statistics(samples: Sequence[ShardSample]) -> Mapping[str, object]:
    statuses = Counter(str(sample.metadata.get("status", "success")) for sample in samples)
    return {
        "count": len(samples),
        "successes": statuses["success"],
        "failed_to_download": statuses["failed_to_download"],
        "failed_to_resize": statuses["failed_to_resize"],
        "duration": 0.0,
        "start_time": _MTIME,
        "end_time": _MTIME,
        "status_dict": dict(sorted((status, count) for status, count in statuses.items() if count)),
    }


def _json(content: Mapping[str, object]) -> str:
    return json.dumps(dict(content), indent=4)
