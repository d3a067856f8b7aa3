"""The subset file of a run on S3, of parts that S3 copies; and what is damaged under it."""

import hashlib
import io
import uuid
import zlib

import numpy as np
import pyarrow as pa
import pytest

from filtering.core.errors import DamagedError
from filtering.core.uids import SUBSET_DTYPE
from filtering.manifests.artifacts import SUBSET
from filtering.manifests.uid_tasks import OWN_SLICE_NAME, hash_selection, write_subset
from filtering.storage.checksums import table_bytes
from filtering.storage.store import Store, checksum
from filtering.storage.upload_parts import LEAST_PART

# Around the least part of an upload.
ROWS = [3, LEAST_PART // 16 + 1, 0, LEAST_PART // 8 + 5, 2 * LEAST_PART // 16, 7]


@pytest.fixture
def run(proxy, s3):
    return Store(f"s3://{s3.bucket}/{uuid.uuid4().hex}")


def written(store, rows):
    """Write the ranges' parts of a subset; return the results of their tasks, and the subset."""
    subset = np.sort(np.random.default_rng(0).integers(0, 2**60, (sum(rows), 2)).astype("<u8").view(SUBSET_DTYPE)[:, 0])
    ranges, at = [], 0
    for number, count in enumerate(rows):
        part = subset[at : at + count].tobytes()
        store.write(OWN_SLICE_NAME.format(number), part)
        ranges.append({"rows": count, "checksums": {}, "crc": zlib.crc32(part)})
        at += count
    return ranges, subset


@pytest.mark.parametrize("rows", [ROWS, [5], [0], ROWS[::-1]], ids=str)
def test_the_subset_of_ranges_is_one_file_on_s3(run, proxy, rows):
    ranges, subset = written(run.child("stages/x"), rows)
    before = proxy.counts()["bytes_in"]
    found = write_subset(ranges, run, run.child("stages/x"))
    assert proxy.counts()["bytes_in"] - before < 3 * LEAST_PART
    data = run.read(SUBSET)
    assert found == {"checksums": {SUBSET: hashlib.sha256(data).hexdigest()}}
    assert np.array_equal(np.load(io.BytesIO(data)), subset)


@pytest.mark.parametrize("number", [0, 3])
def test_a_damaged_or_lost_part_is_named(run, number):
    store = run.child("stages/x")
    ranges, _ = written(store, ROWS)
    name = OWN_SLICE_NAME.format(number)
    data = bytearray(store.read(name))
    data[len(data) // 2] ^= 1
    store.write(name, bytes(data))
    with pytest.raises(DamagedError, match=rf"{name}: is damaged \(its checksum differs\)"):
        write_subset(ranges, run, store)
    store.delete(name)
    with pytest.raises(DamagedError, match=f"{name}: is missing"):
        write_subset(ranges, run, store)


def test_a_damaged_table_is_not_hashed(tmp_path):
    run, name = Store(str(tmp_path)), "manifest/by_uid/00000000.parquet"
    table = pa.table({"uid": ["0" * 32], "key": ["a"], "shard": pa.array([0], pa.int32())})
    data = table_bytes(run.path(name), table)
    run.write(name, data)
    line = f"{'0' * 32}\ta\n".encode()
    assert hash_selection({name: checksum(data)}, run)["hash"] == hashlib.sha256(line).hexdigest()
    with pytest.raises(DamagedError, match="its bytes have changed since it was written"):
        hash_selection({name: checksum(data[:-1])}, run)
