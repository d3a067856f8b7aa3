import numpy as np
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st

from filtering.filters.hash_groups import BITS, hash_tables, repeats_of_earlier

# Some hashes, each with a few bits turned: near ones, equal ones, and ones at the very limit.
TURNED = st.lists(st.integers(0, BITS - 1), max_size=6, unique=True)
NEAR = st.tuples(st.sampled_from([0, 2**64 - 1, 0x5A5A5A5A12345678]), TURNED)
HASHES = st.lists(NEAR.map(lambda one: one[0] ^ sum(1 << bit for bit in one[1])), max_size=30)


def found_by_tables(hashes, masks, distance):
    tables = np.repeat(np.arange(len(masks), dtype=np.uint8), len(hashes))
    every = np.tile(np.array(hashes, dtype=np.uint64), len(masks))
    found = repeats_of_earlier(every, tables, masks, distance).reshape(len(masks), len(hashes))
    return found.any(axis=0).tolist() if len(hashes) else []


@examples(1)
@given(HASHES, st.integers(0, 4), st.sampled_from([1, 10**5, 10**8, 10**10]))
def test_rows_are_found_that_are_near_an_earlier_one(hashes, distance, rows):
    expected = [
        any((one ^ earlier).bit_count() <= distance for earlier in hashes[:at]) for at, one in enumerate(hashes)
    ]
    assert found_by_tables(hashes, hash_tables(rows, distance), distance) == expected


@pytest.mark.parametrize("distance", range(5))
@pytest.mark.parametrize("rows", [1, 10**6, 10**9, 10**11])
def test_any_two_near_hashes_meet_in_a_table(rows, distance):
    masks = hash_tables(rows, distance)
    assert len(masks) <= 256
    random = np.random.default_rng(rows + distance)
    for _ in range(200):
        bits = sum(1 << int(bit) for bit in random.choice(BITS, distance, replace=False))
        assert any(mask & bits == 0 for mask in masks)


def test_large_pools_are_compared_by_more_bits():
    def bits(rows):
        return min(mask.bit_count() for mask in hash_tables(rows, 2))

    assert bits(10**4) < bits(10**9)
