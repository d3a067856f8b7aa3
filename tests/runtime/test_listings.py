"""The folders of stages, listed ahead."""

import pytest

from filtering.core.errors import DamagedError
from filtering.runtime.stage_objects import Listings, check_stage, write_index
from filtering.storage.store import Store

FINGERPRINT = "0123456789abcdef"


@pytest.fixture
def stages(tmp_path):
    stages = Store(str(tmp_path / "stages"))
    for name in ("one", "two"):
        stages.child(name).write("object", name.encode())
    return stages


@pytest.fixture
def listings():
    found = Listings()
    yield found
    found.stop()


def test_a_listing_is_of_when_it_began_and_is_handed_out_once(stages, listings):
    listings.begin(stages)
    assert listings.sizes(stages.child("two")) == {"object": 3}
    stages.child("two").write("more", b"1")
    assert listings.sizes(stages.child("two")) == {"object": 3, "more": 1}


def test_a_folder_that_came_later_is_listed_then(stages, listings):
    listings.begin(stages)
    stages.child("three").write("object", b"12345")
    assert listings.sizes(stages.child("three")) == {"object": 5}


def test_what_was_listed_is_forgotten_where_objects_are_made_again(stages, listings):
    listings.begin(stages)
    stages.child("one").delete("object")
    listings.stop()
    assert listings.sizes(stages.child("one")) == {}


def test_an_object_that_a_listing_lacks_is_missing(stages, listings):
    store = stages.child("one")
    write_index(store, FINGERPRINT, {"object": 3}, with_earlier=False)
    check_stage(store, FINGERPRINT, listings.sizes(store))
    store.delete("object")
    with pytest.raises(DamagedError, match="object: is missing"):
        check_stage(store, FINGERPRINT, listings.sizes(store))
