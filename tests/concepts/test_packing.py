import numpy as np
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st

from filtering.concepts.packing import FEWEST_ROWS, MOST_ROWS, automatic_partition_rows, packed_partitions


def packed(members, shared, limit):
    """Partitions of concepts of which some share rows: (home concept, replica concept, how many rows)."""
    homes, others, rows = (np.array([pair[at] for pair in shared], dtype=np.int64) for at in range(3))
    return packed_partitions(np.array(members, dtype=np.int64), homes, others, rows.astype(np.float64), limit)


@st.composite
def concepts(draw):
    rows = draw(st.lists(st.integers(0, 30), max_size=25))
    place = st.integers(0, max(len(rows) - 1, 0))
    pairs = draw(st.sets(st.tuples(place, place).filter(lambda pair: pair[0] != pair[1]))) if len(rows) > 1 else set()
    return rows, [(*pair, draw(st.integers(1, 50))) for pair in sorted(pairs)]


@given(concepts(), st.integers(1, 40))
def test_every_concept_has_a_partition_within_the_limit(given_concepts, limit):
    members, shared = given_concepts
    partitions = packed(members, shared, limit)
    assert partitions.dtype == np.int32
    assert len(partitions) == len(members)
    # Numbered without gaps, in the order of their first concepts.
    assert list(dict.fromkeys(partitions.tolist())) == list(range(len(set(partitions.tolist()))))
    for partition in set(partitions.tolist()):
        held = [count for count, at in zip(members, partitions, strict=True) if at == partition]
        assert sum(held) <= limit or sum(count > 0 for count in held) == 1
    assert np.array_equal(partitions, packed(members, shared, limit))


@examples(0.4)
@given(concepts(), st.integers(1, 40), st.randoms(use_true_random=False))
def test_the_order_of_the_pairs_does_not_matter(given_concepts, limit, random):
    members, shared = given_concepts
    shuffled = random.sample(shared, len(shared))
    assert np.array_equal(packed(members, shared, limit), packed(members, shuffled, limit))


@pytest.mark.parametrize("seed", range(4))
def test_concepts_that_share_rows_are_packed_together(seed):
    # Families of four concepts that share many rows, and few with other concepts.
    random = np.random.default_rng(seed)
    family = random.permutation(np.repeat(np.arange(10), 4))
    shared = [
        (one, two, 50 if family[one] == family[two] else 1)
        for one in range(40)
        for two in range(40)
        if one != two and (family[one] == family[two] or random.random() < 0.05)
    ]
    partitions = packed([10] * 40, shared, 40)
    assert {len(set(partitions[family == one].tolist())) for one in range(10)} == {1}
    assert len(set(partitions.tolist())) == 10


def test_the_largest_share_comes_first():
    # 1 shares more rows with 0, but most of its rows with 3; 2 shares rows with 0 alone.
    assert packed([10, 10, 10, 10], [(0, 1, 60), (0, 2, 50), (1, 3, 500)], 20).tolist() == [0, 1, 0, 1]


def test_rows_shared_in_both_directions_count_together():
    assert packed([10, 10, 10], [(0, 1, 100), (1, 0, 1), (0, 2, 50)], 20).tolist() == [0, 0, 1]


def test_concepts_that_share_no_rows_are_packed_in_order():
    assert packed([10] * 6, [], 30).tolist() == [0, 0, 0, 1, 1, 1]
    assert packed([10] * 6, [], 29).tolist() == [0, 0, 1, 1, 2, 2]


def test_a_concept_above_the_limit_is_alone():
    assert packed([5, 100, 5], [(0, 1, 9), (1, 2, 9)], 20).tolist() == [0, 1, 2]


@pytest.mark.parametrize("limit", [1, 100])
def test_no_concepts_have_no_partitions(limit):
    partitions = packed([], [], limit)
    assert partitions.shape == (0,)
    assert partitions.dtype == np.int32


def test_automatic_partition_rows():
    assert automatic_partition_rows(0) == automatic_partition_rows(100_000) == FEWEST_ROWS
    assert automatic_partition_rows(320_001) == 10_001
    assert automatic_partition_rows(10**9) == MOST_ROWS
