import hashlib

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filtering.core.uids import content_hash, derived_uid, is_uid, random_order, sampled, subset_array, uid_array

DIGITS = "0123456789abcdef"
UIDS = st.lists(st.text(DIGITS, min_size=32, max_size=32), max_size=20)


def array_of(uids):
    return np.array(uids, dtype="S32")


def hashed(count):
    return array_of([hashlib.md5(str(number).encode()).hexdigest() for number in range(count)])


def number_of(digits):
    value = 0
    for digit in digits:
        value = value * 16 + DIGITS.index(digit)
    return value


@given(UIDS)
def test_the_subset_array_equals_a_digit_by_digit_loop(uids):
    subset = subset_array(array_of(uids))
    assert subset.dtype == np.dtype([("f0", "<u8"), ("f1", "<u8")])
    assert subset.tolist() == sorted((number_of(uid[:16]), number_of(uid[16:])) for uid in uids)


def test_the_subset_array_survives_saving(tmp_path):
    subset = subset_array(hashed(50))
    np.save(tmp_path / "subset.npy", subset)
    assert np.array_equal(np.load(tmp_path / "subset.npy"), subset)


@pytest.mark.parametrize("text", ["0" * 31, "0" * 33, "g" * 32, "A" * 32, "0" * 32 + "\n", "", None, 5, b"0" * 32])
def test_what_is_no_uid(text):
    assert not is_uid(text)


def test_a_derived_uid_depends_on_shard_and_key():
    uid = derived_uid("00000000.tar", "000000017")
    assert uid == hashlib.blake2b(b"00000000.tar/000000017").hexdigest()[:32]
    assert is_uid(uid)
    assert len({derived_uid(shard, key) for shard in ("a", "b") for key in ("x", "y", "é")}) == 6


def test_a_name_on_a_disk_need_not_be_utf8():
    assert is_uid(derived_uid("/pool/\udcff.tar", "a"))


def test_a_content_is_a_caption_and_an_image():
    pairs = [("a", b"b"), ("ab", b""), ("", b"ab"), ("a", b"c"), ("b", b"b")]
    found = [content_hash(caption, image) for caption, image in pairs]
    assert len(set(found)) == len(pairs)
    assert all(0 < number < 2**64 for number in found)
    assert found == [content_hash(caption, image) for caption, image in pairs]


@given(UIDS, st.integers(0, 2**32 - 1), st.floats(-0.5, 1.5), st.randoms(use_true_random=False))
def test_sampling_looks_at_each_uid_alone(uids, seed, fraction, random):
    shuffled = random.sample(range(len(uids)), len(uids))
    mask = sampled(array_of(uids), fraction, seed)
    assert np.array_equal(sampled(array_of(uids)[shuffled], fraction, seed), mask[shuffled])
    for uid, taken in zip(uids, mask, strict=True):
        assert sampled(array_of([uid]), fraction, seed).tolist() == [taken]


@given(
    st.lists(st.text(DIGITS, min_size=32, max_size=32), max_size=20, unique=True), st.integers(0, 2**32 - 1), st.data()
)
def test_a_random_order_does_not_depend_on_the_order_given(uids, seed, data):
    shuffled = data.draw(st.permutations(uids))
    first, second = random_order(array_of(uids), seed), random_order(array_of(shuffled), seed)
    assert sorted(first.tolist()) == list(range(len(uids)))
    assert array_of(uids)[first].tolist() == array_of(shuffled)[second].tolist()


COUNTED_LAST = array_of([f"{number:032x}" for number in range(20_000)])
COUNTED_FIRST = array_of([f"{number:016x}{0:016x}" for number in range(20_000)])


@pytest.mark.parametrize(
    "uids", [hashed(20_000), COUNTED_LAST, COUNTED_FIRST], ids=["hashes", "counted last", "counted first"]
)
def test_the_share_sampled_is_the_fraction(uids):
    for fraction in (0.1, 0.5):
        assert abs(sampled(uids, fraction, 1).mean() - fraction) < 0.02
    assert sampled(uids, 1.0, 1).all()
    assert not sampled(uids, 0.0, 1).any()


def test_a_larger_fraction_takes_the_smaller_one_too():
    uids = hashed(2000)
    assert (sampled(uids, 0.6, 4) >= sampled(uids, 0.3, 4)).all()


@pytest.mark.parametrize(
    "uids", [hashed(500), COUNTED_LAST, COUNTED_FIRST], ids=["hashes", "counted last", "counted first"]
)
def test_seeds_differ(uids):
    assert not np.array_equal(random_order(uids, 1), random_order(uids, 2))
    assert not np.array_equal(sampled(uids, 0.5, 1), sampled(uids, 0.5, 2))
    assert not np.array_equal(random_order(uids, 1), np.argsort(uids))


@given(UIDS, UIDS, st.integers(0, 20), st.integers(0, 20))
def test_a_column_becomes_the_array_of_its_uids_whatever_its_chunks_and_slices(first, second, start, length):
    column = pa.chunked_array([first, second], pa.string()).slice(start, length)
    assert uid_array(column).tolist() == [uid.encode() for uid in column.to_pylist()]
