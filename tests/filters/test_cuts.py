import uuid

import numpy as np
import pyarrow as pa
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from plain_stage import PlainStage

from filtering.config.filters import CaptionFilter, ClipScoreFilter, Filter
from filtering.core import schemas
from filtering.embedding.artifacts import ROWS_NAME, EmbeddedShard
from filtering.filters.cuts import judged, score_threshold
from filtering.filters.judging import COLUMNS, Judging, Rule, first_failed
from filtering.shards.inventory import Shard
from filtering.storage.store import Store

TWO_WORDS = Rule(Filter(caption=CaptionFilter(min_words=2)))
# Equal scores, zeros of both signs, neighbours that differ in the last bit.
SCORES = st.sampled_from([-1.0, -0.0, 0.0, 0.25, float(np.nextafter(np.float32(0.25), np.float32(1))), 1.0])
ROW = st.tuples(SCORES | st.floats(-1, 1, width=32), st.sampled_from(["one", "one two"]))
POOL = st.lists(st.lists(ROW, max_size=8), min_size=1, max_size=3)


def embedded(store, at, rows):
    shard = EmbeddedShard(Shard(at, f"/pool/{at:08d}.parquet", 1, "1"), store)
    columns = {name: pa.nulls(len(rows), schemas.ROWS.field(name).type) for name in schemas.ROWS.names}
    columns["caption"] = pa.array([caption for _, caption in rows], pa.string())
    columns["clip_score"] = pa.array([score for score, _ in rows], pa.float32())
    store.write_table(ROWS_NAME.format(shard.shard.identity), pa.table(columns, schema=schemas.ROWS))
    return shard


@examples(0.3)
@given(POOL, st.booleans(), st.data())
def test_scores_are_found_at_their_rank_over_all_shards(tmp_path_factory, pool, filtered, data):
    store = Store(str(tmp_path_factory.mktemp("cuts") / uuid.uuid4().hex))
    shards = [embedded(store, at, rows) for at, rows in enumerate(pool)]
    left = sorted((s for rows in pool for s, text in rows if not filtered or text == "one two"), reverse=True)
    judging, rank = Judging((TWO_WORDS,) * filtered), data.draw(st.integers(0, max(len(left) - 1, 0)))
    # `place_of` makes the rank of it again.
    found = score_threshold(PlainStage(store), shards, judging, (rank + 0.5) / max(len(left), 1))
    assert found == (left[rank] if left else -1.0)


def test_what_was_judged_once_is_not_judged_again(tmp_path, monkeypatch):
    store = Store(str(tmp_path))
    shard = embedded(store, 0, [(0.1, "one"), (0.2, "one two"), (0.3, "one two"), (0.4, "one")])
    judging = Judging((TWO_WORDS,))
    score_threshold(PlainStage(store), [shard], judging, 0.75)
    judging = judging.known_to(1).followed_by(Rule(Filter(clip_score=ClipScoreFilter(keep=0.5)), 0.25))
    expected = first_failed(shard.rows(list(COLUMNS)), judging.rules)
    assert expected.tolist() == [0, 1, -1, 0]
    monkeypatch.setattr("filtering.filters.judging.caption_passes", lambda *_: 1 / 0)
    assert np.array_equal(judged(shard, judging, store), expected)


def test_the_same_task_writes_the_same_bytes_again(tmp_path):
    store = Store(str(tmp_path))
    shard = embedded(store, 0, [(0.1, "one"), (0.2, "one two")])
    score_threshold(PlainStage(store), [shard], Judging((TWO_WORDS,)), 0.25)
    before = {name: store.read(name) for name in store.names(".npz")}
    score_threshold(PlainStage(store), [shard], Judging((TWO_WORDS,)), 0.25)
    assert len(before) == 3
    assert before == {name: store.read(name) for name in store.names(".npz")}
