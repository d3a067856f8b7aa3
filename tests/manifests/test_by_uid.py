import hashlib
import io
from itertools import pairwise

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from filtering.core.uids import SUBSET_DTYPE
from filtering.manifests.by_uid import SelectionHash, manifest_hash, range_at, subset_bytes

SAMPLES = st.lists(st.tuples(st.integers(0, 99).map(lambda n: f"{n:032x}"), st.text(max_size=5)), max_size=20)


def table_of(samples):
    uids, keys = zip(*samples, strict=True) if samples else ((), ())
    return pa.table({"uid": pa.array(uids, pa.string()), "key": pa.array(keys, pa.string())})


@given(SAMPLES, st.lists(st.integers(0, 20), max_size=4))
def test_the_hash_is_that_of_sorted_lines_however_the_samples_come_in_parts(samples, cuts):
    ordered = sorted(samples)
    expected = hashlib.sha256("".join(f"{uid}\t{key}\n" for uid, key in ordered).encode()).hexdigest()
    assert manifest_hash([table_of(samples[::2]), table_of(samples[1::2])]) == expected
    found, edges = SelectionHash(), [0, *sorted(cuts), len(ordered)]
    whole = table_of(ordered)
    for start, end in pairwise(edges):
        found.add(whole.slice(start, max(end - start, 0)))
    if all(cut <= len(ordered) for cut in cuts):
        assert found.hexdigest() == expected


def test_the_hash_of_nothing_is_that_of_no_bytes():
    assert manifest_hash([]) == SelectionHash().hexdigest() == hashlib.sha256().hexdigest()


def test_the_bytes_of_a_subset_file_are_numpys():
    subset = np.arange(14, dtype=np.uint64).view(SUBSET_DTYPE)
    buffer = io.BytesIO()
    np.save(buffer, subset, allow_pickle=False)
    assert subset_bytes(subset) == buffer.getvalue()


def test_the_range_of_a_uid_is_the_last_that_begins_before():
    ranges = [{"first": first * 32, "rows": 1, "table": first} for first in "048"]
    assert [range_at(ranges, uid * 32)["table"] for uid in "03478f"] == [*"004488"]
