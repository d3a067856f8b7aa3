"""Objects made of others: on a disk, in memory, and on a real S3 through a proxy that injects faults."""

import random
import uuid

import fsspec
import pytest

from filtering.core.errors import DamagedError, InputError
from filtering.storage.assembly import assemble
from filtering.storage.retries import taken
from filtering.storage.store import Store
from filtering.storage.upload_parts import LEAST_PART
from filtering.storage.written import noted

MIB = 1 << 20
HEADER = b"header" * 20


def objects(store, sizes):
    """Write objects of these sizes; return all bytes of them after the header, and the sizes by URL."""
    data = {f"{at:08d}.slice": random.Random(at).randbytes(size) for at, size in enumerate(sizes)}
    for name, part in data.items():
        store.write(name, part)
    return HEADER + b"".join(data.values()), {store.path(name): len(part) for name, part in data.items()}


def uploads(s3, store):
    """The uploads that were begun in a folder and are neither complete nor aborted."""
    found = s3.client().list_multipart_uploads(Bucket=s3.bucket).get("Uploads", [])
    return [one["Key"] for one in found if store.url.endswith(one["Key"].partition("/")[0])]


@pytest.fixture(params=["disk", "memory"])
def other(request, tmp_path):
    yield Store(str(tmp_path) if request.param == "disk" else f"memory://{uuid.uuid4().hex}")
    fsspec.filesystem("memory").store.clear()


@pytest.mark.parametrize("sizes", [[], [0], [10, 0, 3 * MIB, 1]])
def test_a_disk_or_another_store_holds_the_objects_one_after_the_other(other, sizes):
    expected, sizes = objects(other, sizes)
    with noted() as written:
        assemble(other.path("whole"), HEADER, sizes)
    assert other.read("whole") == expected
    assert written == {other.path("whole"): len(expected)}


def test_a_lost_object_and_one_of_another_size_are_named_and_nothing_is_left(other):
    _, sizes = objects(other, [10, 20])
    with pytest.raises(DamagedError, match=r"00000001.slice: is damaged \(20 bytes where 21 were written\)"):
        assemble(other.path("whole"), HEADER, {**sizes, other.path("00000001.slice"): 21})
    other.delete("00000000.slice")
    with pytest.raises(DamagedError, match=r"00000000.slice: is missing"):
        assemble(other.path("whole"), HEADER, sizes)
    assert other.names() == ["00000001.slice"]


# Below 5 MiB no part may be by itself, but for the last one.
S3_SIZES = [
    [],
    [100],
    [LEAST_PART],
    [3 * LEAST_PART, 1],
    [1, 2, 3, 2 * LEAST_PART + 1, 0, 4, 3 * LEAST_PART, LEAST_PART, 7],
]


@pytest.mark.parametrize("sizes", S3_SIZES, ids=str)
def test_s3_copies_what_it_can(store, proxy, s3, sizes):
    expected, sizes = objects(store, sizes)
    before = proxy.counts()["bytes_in"]
    with noted() as written:
        assemble(store.path("whole"), HEADER, sizes)
    sent = proxy.counts()["bytes_in"] - before
    assert store.read("whole") == expected
    assert written == {store.path("whole"): len(expected)}
    assert sent < min(len(expected), 3 * LEAST_PART) + MIB
    assert uploads(s3, store) == []


@pytest.mark.slow
@pytest.mark.parametrize("faults", [{"fail_parts": 3}, {"fail_completions": 2}, {"lose_completions": 1}], ids=str)
def test_parts_that_fail_on_s3_are_repeated(store, proxy, s3, faults):
    expected, sizes = objects(store, [2 * LEAST_PART, 9, 2 * LEAST_PART, 3 * LEAST_PART])
    proxy.set(**faults)
    taken()
    assemble(store.path("whole"), HEADER, sizes)
    assert taken()["retries"] == sum(faults.values())
    assert store.read("whole") == expected
    assert uploads(s3, store) == []


@pytest.mark.slow
def test_an_assembly_on_s3_that_fails_in_the_middle_is_aborted(store, proxy, s3):
    _, sizes = objects(store, [2 * LEAST_PART, 9, 2 * LEAST_PART])
    proxy.set(deny_parts=1000)
    with pytest.raises(InputError, match=rf"^{store.path('whole')}: access is denied"):
        assemble(store.path("whole"), HEADER, sizes)
    proxy.set()
    assert uploads(s3, store) == []
    assert not store.exists("whole")


def test_a_store_that_copies_no_parts_is_sent_the_objects(store, proxy, s3):
    expected, sizes = objects(store, [2 * LEAST_PART, 9, 2 * LEAST_PART])
    proxy.set(refuse_copies=1000)
    assemble(store.path("whole"), HEADER, sizes)
    assert store.read("whole") == expected
    assert uploads(s3, store) == []


@pytest.mark.parametrize("lost", [0, 2])
def test_an_object_that_is_lost_on_s3_is_named(store, s3, lost):
    _, sizes = objects(store, [2 * LEAST_PART, 9, 3 * LEAST_PART])
    store.delete(f"{lost:08d}.slice")
    with pytest.raises(DamagedError, match=rf"^{store.path(f'{lost:08d}.slice')}: is missing"):
        assemble(store.path("whole"), HEADER, sizes)
    assert uploads(s3, store) == []
