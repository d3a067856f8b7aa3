import numpy as np
import pyarrow.parquet as pq
import pytest
from pools import write_metadata

from filtering.config.input import Arrays, Input
from filtering.core import schemas
from filtering.embedding.artifacts import EmbeddedShard
from filtering.embedding.metadata import MetadataReader
from filtering.filters import artifacts
from filtering.filters.artifacts import REASONS_NAME, PassingShard
from filtering.shards.inventory import list_shards
from filtering.shards.vectors import NpzVectors
from filtering.storage.store import Store


@pytest.fixture
def shard(tmp_path):
    """A shard of 50 rows of which every third passes."""
    pool = write_metadata(tmp_path, [50])
    (listed,) = list_shards(Input(metadata=str(pool)))
    MetadataReader(NpzVectors(Arrays()))(listed, Store(str(tmp_path / "embedded")))
    reasons = [None if row % 3 == 0 else "filter:caption" for row in range(50)]
    table = schemas.REASONS.empty_table().from_pydict({"reason": reasons}, schema=schemas.REASONS)
    store = Store(str(tmp_path / "reasons"))
    store.write_table(REASONS_NAME.format(listed.identity), table)
    return PassingShard(EmbeddedShard(listed, Store(str(tmp_path / "embedded")), Arrays()), store)


def test_rows_and_uids_are_those_without_a_reason(shard):
    assert shard.rows().tolist() == list(range(0, 50, 3))
    uids = pq.read_table(shard.embedded.shard.url)["uid"].to_pylist()
    assert shard.uids(shard.rows()).tolist() == [uid.encode() for uid in uids[::3]]


@pytest.mark.parametrize("block_rows", [1, 7, 17, 1000])
def test_vectors_are_the_same_in_blocks_of_any_size(shard, monkeypatch, block_rows):
    monkeypatch.setattr(artifacts, "BLOCK_ROWS", block_rows)
    arrays = np.load(shard.embedded.shard.url.replace(".parquet", ".npz"))
    blocks = list(shard.vector_blocks(shard.rows()))
    assert [block.start for block, _ in blocks] == list(range(0, 17, block_rows))
    assert np.array_equal(np.concatenate([vectors for _, vectors in blocks]), arrays["l14_img"][::3])
    assert np.array_equal(shard.vectors(np.array([9, 3])), arrays["l14_img"][[9, 3]])


def test_no_rows_need_no_vectors(shard):
    assert list(shard.vector_blocks(np.zeros(0, dtype=np.int64))) == []
