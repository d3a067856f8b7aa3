import uuid

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from plain_stage import PlainStage

from filtering.core.radix_select import digit_counts
from filtering.runtime import sums
from filtering.runtime.rank_counts import COUNTS_NAME, COUNTS_SUFFIX, add_counts, count_keys, summed_counts
from filtering.runtime.sums import added_arrays, summed_objects
from filtering.storage.store import Store


class Counted(PlainStage):
    """A stage that notes how many objects each task is given."""

    def __init__(self, store):
        super().__init__(store)
        self.given = []

    def map(self, tasks, unit, workers=None):
        self.given += [len(task.args[0]) for task in tasks]
        return super().map(tasks, unit, workers)


def add(names, name, store):
    store.write_arrays(name, added_arrays(names, ["a"], store))


@given(st.integers(0, 40), st.integers(2, 9))
def test_no_task_adds_up_more_than_some_objects(count, at_once):
    stage = Counted(Store(f"memory://{uuid.uuid4().hex}"))
    names = [f"{at}.one.npz" for at in range(count)]
    for at, name in enumerate(names):
        stage.store.write_arrays(name, {"a": np.array([at, 1]), "b": np.zeros(at)})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sums, "ADDED_AT_ONCE", at_once)
        left = summed_objects(stage, "all", names, add, ".one.npz")
    assert len(left) <= at_once
    assert max(stage.given, default=0) <= at_once
    assert (left == names) == (count <= at_once)
    found = added_arrays(left, ["a"], stage.store)
    assert {name: array.tolist() for name, array in found.items()} == (
        {"a": [sum(range(count)), count]} if count else {}
    )


@given(st.lists(st.lists(st.sampled_from([0, 1, 65535]), max_size=5), min_size=3, max_size=9))
def test_counts_of_digits_are_added_up_in_groups(parts):
    stage = PlainStage(Store(f"memory://{uuid.uuid4().hex}"))
    keys = [np.array(part, np.uint16).reshape(-1, 1) for part in parts]
    for at, part in enumerate(keys):
        count_keys(stage.store, f"{at}", part, ())
    names = [COUNTS_NAME.format(f"{at}") for at in range(len(keys))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sums, "ADDED_AT_ONCE", 2)
        left = summed_objects(stage, "all", names, add_counts, COUNTS_SUFFIX)
    assert len(left) <= 2
    assert np.array_equal(summed_counts(stage.store, left), digit_counts(np.concatenate(keys), ()))
