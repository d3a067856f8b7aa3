import uuid

import numpy as np
import pytest

from filtering.concepts.centroid_files import (
    KNOWN_NAME,
    STEPS_NAME,
    index_named,
    is_in_steps,
    read_centroids_named,
    write_centroids,
)
from filtering.concepts.nearest import Centroids, nearest_centroids
from filtering.core.errors import DamagedError
from filtering.storage.store import Store


def unit(seed, rows):
    points = np.random.default_rng(seed).normal(size=(rows, 6)).astype(np.float32)
    return points / np.linalg.norm(points, axis=1, keepdims=True)


@pytest.fixture(params=["disk", "memory"])
def store(request, tmp_path):
    return Store(str(tmp_path) if request.param == "disk" else f"memory://{uuid.uuid4().hex}")


def centroids(count):
    return Centroids.unmoved(unit(count, count), np.arange(count, dtype=np.int32) // 4)


@pytest.mark.parametrize("sizes", [[0], [1], [5, 3], [2, 2, 9]])
def test_parts_are_read_as_one(store, sizes):
    whole = centroids(sum(sizes))
    ends = np.cumsum(sizes).tolist()
    parts = [whole.take(slice(end - size, end)) for size, end in zip(sizes, ends, strict=True)]
    assert write_centroids(store, "some", parts) == sum(sizes)
    found = read_centroids_named(store, "some")
    for name in ("steps", "groups", "spreads", "branches"):
        assert np.array_equal(getattr(found, name), getattr(whole, name))
    assert is_in_steps(store, "some")


def test_centroids_of_an_older_version_are_rounded_to_steps(store):
    vectors, groups = unit(0, 9), np.arange(9, dtype=np.int32) // 2
    store.write_arrays(KNOWN_NAME.format("some"), {"vectors": vectors, "groups": groups, "spreads": np.ones(9, "<f4")})
    assert not is_in_steps(store, "some")
    found = read_centroids_named(store, "some")
    assert np.abs(found.vectors - vectors).max() <= 2.0**-15
    assert found.branches.shape == (9, 0)


def test_an_index_is_made_again_where_centroids_have_changed(store):
    write_centroids(store, "some", [centroids(5)])
    first = index_named(store, "some")
    assert index_named(store, "some")[1] is first[1]
    write_centroids(store, "some", [centroids(7)])
    rows = unit(1, 20)
    found = index_named(store, "some")[1].nearest(rows, 2)[0]
    assert np.array_equal(found, nearest_centroids(rows, centroids(7).vectors, 2)[0])


@pytest.mark.parametrize("name", [KNOWN_NAME, STEPS_NAME])
def test_what_is_damaged_or_missing_is_refused(store, name):
    write_centroids(store, "some", [centroids(5)])
    data = bytearray(store.read(name.format("some")))
    data[len(data) // 2] ^= 1
    store.write(name.format("some"), bytes(data))
    with pytest.raises(DamagedError, match="damaged"):
        read_centroids_named(store, "some")
    store.delete(name.format("some"))
    with pytest.raises(DamagedError, match="missing"):
        read_centroids_named(store, "some")
    if name == KNOWN_NAME:
        with pytest.raises(DamagedError, match="missing"):
            index_named(store, "some")
