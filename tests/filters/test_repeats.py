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
def test_only_later_repeats_are_marked(numbers):
    assert later_repeats(uids_of(numbers)).tolist() == repeats_of(numbers)


def embedded(store, at, numbers):
    shard = EmbeddedShard(Shard(at, f"/pool/{at:08d}.parquet", 1, "1"), store)
    columns = {name: pa.nulls(len(numbers), schemas.ROWS.field(name).type) for name in schemas.ROWS.names}
    columns["uid"] = pa.array([f"{number:032x}" for number in numbers], pa.string())
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
        assert sorted(read_repeats(store, buckets, at).tolist()) == expected


def test_a_bucket_holds_millions():
    assert [bucket_count(rows) for rows in (0, 1, 4_000_000, 4_000_001, 12_800_000)] == [1, 1, 1, 2, 4]
