import uuid

import numpy as np
import pyarrow as pa
from examples import examples
from hypothesis import given
from hypothesis import strategies as st

from filtering.core import schemas
from filtering.embedding.artifacts import ROWS_NAME, EmbeddedShard
from filtering.filters.repeats import bucket_count, find_repeats, later_repeats, read_repeats, spread_uids
from filtering.shards.inventory import Shard
from filtering.storage.store import Store


def uids_of(numbers):
    return np.array([f"{number:032x}" for number in numbers], dtype="S32")


def repeats_of(numbers):
    seen, found = set(), []
    for number in numbers:
        found.append(number in seen)
        seen.add(number)
    return found


@given(st.lists(st.integers(0, 12), max_size=30))
def test_only_later_repeats_are_marked_each_with_the_first_of_its_uid(numbers):
    later, first = later_repeats(uids_of(numbers))
    assert later.tolist() == np.flatnonzero(repeats_of(numbers)).tolist()
    assert first.tolist() == [numbers.index(numbers[row]) for row in later.tolist()]


def embedded(store, at, numbers, contents=None):
    shard = EmbeddedShard(Shard(at, f"/pool/{at:08d}.parquet", 1, "1"), store)
    columns = {name: pa.nulls(len(numbers), schemas.ROWS.field(name).type) for name in schemas.ROWS.names}
    columns["uid"] = pa.array([f"{number:032x}" for number in numbers], pa.string())
    if contents is not None:
        columns["content"] = pa.array(contents, pa.uint64())
    store.write_table(ROWS_NAME.format(shard.shard.identity), pa.table(columns, schema=schemas.ROWS))
    return shard


@examples(0.2)
@given(pool=st.lists(st.lists(st.integers(0, 9), max_size=8), min_size=1, max_size=3), buckets=st.integers(1, 3))
def test_buckets_find_what_one_task_would(tmp_path_factory, pool, buckets):
    store = Store(str(tmp_path_factory.mktemp("uids") / uuid.uuid4().hex))
    shards = [embedded(store, at, numbers) for at, numbers in enumerate(pool)]
    for at, shard in enumerate(shards):
        spread_uids(shard, at, buckets, store)
    names = store.names(".uids")
    assert len(names) == len(shards)
    for bucket in range(buckets):
        find_repeats(bucket, [f"{shard.shard.identity}.uids" for shard in shards], store)
    whole = repeats_of([number for numbers in pool for number in numbers])
    for at, numbers in enumerate(pool):
        start = sum(map(len, pool[:at]))
        expected = np.flatnonzero(whole[start : start + len(numbers)]).tolist()
        assert sorted(read_repeats(store, buckets, at)) == expected


def test_another_content_than_that_of_the_first_is_a_conflict(tmp_path):
    store, most = Store(str(tmp_path)), 2**64 - 1
    pool = [([1, 1, 2], [5, 6, 0]), ([1, 2, 1, 3], [5, 7, None, most]), ([3, 3], [most, 1])]
    shards = [embedded(store, at, numbers, contents) for at, (numbers, contents) in enumerate(pool)]
    for at, shard in enumerate(shards):
        spread_uids(shard, at, 1, store)
    find_repeats(0, [f"{shard.shard.identity}.uids" for shard in shards], store)
    assert [read_repeats(store, 1, at) for at in range(3)] == [
        {1: "uid_conflict"},
        {0: "duplicate_uid", 1: "duplicate_uid", 2: "duplicate_uid"},
        {0: "duplicate_uid", 1: "uid_conflict"},
    ]


def test_rows_of_a_version_that_noted_no_content_are_repeats(tmp_path):
    store = Store(str(tmp_path))
    shard = embedded(store, 0, [1, 1])
    name = ROWS_NAME.format(shard.shard.identity)
    store.write_table(name, store.read_table(name).drop_columns(["content"]))
    spread_uids(shard, 0, 1, store)
    find_repeats(0, [f"{shard.shard.identity}.uids"], store)
    assert read_repeats(store, 1, 0) == {1: "duplicate_uid"}


def test_a_bucket_holds_millions():
    assert [bucket_count(rows) for rows in (0, 1, 4_000_000, 4_000_001, 12_800_000)] == [1, 1, 1, 2, 4]
