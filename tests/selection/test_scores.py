import numpy as np
from examples import examples
from hypothesis import given
from hypothesis import strategies as st

from filtering.runtime.shuffle import packed, write_groups
from filtering.selection.scores import SCORE, SENT_NAME, collect_scores, scores_of
from filtering.storage.store import Store


def sent(store, name, rows, scores, partitions):
    """What one shard sends."""
    nothing = np.zeros(len(rows))
    score = np.array(scores, dtype=np.float32)
    records = packed(SCORE, row=np.array(rows, dtype=np.int64), score=score, concept=nothing, second=nothing)
    write_groups(store, SENT_NAME.format(name), np.array(partitions, dtype=np.int64), SCORE, records.__getitem__)
    return SENT_NAME.format(name)


@examples(0.4)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=30), st.data())
def test_every_row_has_its_score_wherever_it_was_sent(tmp_path_factory, partitions, data):
    store = Store(str(tmp_path_factory.mktemp("scores")))
    rows = np.arange(len(partitions)) * 7
    half = len(rows) // 2
    parts = (slice(0, half), slice(half, None))
    names = [sent(store, at, rows[part], rows[part] / 2, partitions[part]) for at, part in enumerate(parts)]
    assert sum(collect_scores(number, names, None, store)["rows"] for number in range(5)) == len(rows)
    wanted = np.array(sorted(data.draw(st.sets(st.sampled_from(rows.tolist())))), dtype=np.int64)
    assert scores_of(wanted, range(5), store).tolist() == (wanted / 2).tolist()


def test_a_row_of_no_read_partition_has_no_score(tmp_path):
    store = Store(str(tmp_path))
    names = [sent(store, "shard", [1, 2], [0.5, 0.25], [0, 1])]
    for number in (0, 1):
        collect_scores(number, names, None, store)
    assert np.isnan(scores_of(np.array([1, 2]), [1], store)).tolist() == [True, False]
