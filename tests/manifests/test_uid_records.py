import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from filtering.core.uids import SUBSET_DTYPE, subset_array
from filtering.manifests.uid_records import SENT, records_sum, sent_records, sorted_range

UID = st.integers(0, 2**128 - 1).map(lambda number: f"{number:032x}")
# Keys of tars are names, and those of tables anything.
KEY = st.text(max_size=70).filter(lambda text: text.isprintable() or "\0" in text)
SAMPLES = st.lists(st.tuples(UID, KEY, st.integers(0, 2**31 - 1)), max_size=20)


def records_of(samples):
    uids, keys, shards = zip(*samples, strict=True) if samples else ((), (), ())
    # In several pieces, as tables that were put together are.
    column = pa.chunked_array([pa.array(keys[at : at + 3], pa.string()) for at in range(0, len(keys), 3)], pa.string())
    return sent_records(np.array(uids, dtype="S32"), column, np.array(shards, np.int32))


@given(SAMPLES)
def test_samples_come_back_in_the_order_of_their_uids(samples):
    records, row = records_of(samples)
    assert records.dtype == SENT
    assert sorted(set(row.tolist())) == list(range(len(samples)))
    found = sorted_range(records)
    expected = sorted(samples, key=lambda sample: sample[0])
    assert [tuple(line.values()) for line in found.table().to_pylist()] == expected
    uids = np.array([uid for uid, _, _ in samples], dtype="S32")
    assert found.subset().dtype == SUBSET_DTYPE
    assert found.subset().tolist() == subset_array(uids).tolist()


@given(SAMPLES, st.data())
def test_a_uid_that_comes_again_is_found(samples, data):
    uids = [uid for uid, _, _ in samples]
    again = sorted_range(records_of(samples)[0]).repeated()
    assert len(again) == len(uids) - len(set(uids))
    if samples:
        uid = data.draw(st.sampled_from(uids))
        found = sorted_range(records_of([*samples, (uid, "other", 0)])[0])
        assert len(found.repeated()) == len(again) + 1


@given(SAMPLES, st.randoms(use_true_random=False), st.data())
def test_the_sum_tells_samples_from_others_and_not_their_order(samples, random, data):
    expected = records_sum(records_of(samples)[0])
    shuffled = random.sample(samples, len(samples))
    assert records_sum(records_of(shuffled)[0]) == expected
    if samples:
        at = data.draw(st.integers(0, len(samples) - 1))
        uid, key, shard = samples[at]
        for other in ((f"{int(uid, 16) ^ 1:032x}", key, shard), (uid, key + "x", shard), (uid, key, shard ^ 1)):
            assert records_sum(records_of([*samples[:at], other, *samples[at + 1 :]])[0]) != expected
