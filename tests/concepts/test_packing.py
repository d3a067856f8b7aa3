import numpy as np
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st

from filtering.concepts.packing import FEWEST_ROWS, MOST_ROWS, automatic_partition_rows, packed_partitions


def packed(rows, visits, limit):
    """Partitions of concepts of which some visit each other: (visitor, host, how many rows)."""
    visitors, hosts, many = (np.array([visit[at] for visit in visits], dtype=np.int64) for at in range(3))
    return packed_partitions(np.array(rows, dtype=np.int64), visitors, hosts, many.astype(np.float64), limit)


@st.composite
def concepts(draw):
    rows = draw(st.lists(st.integers(0, 30), max_size=25))
    place = st.integers(0, max(len(rows) - 1, 0))
    pairs = draw(st.sets(st.tuples(place, place).filter(lambda pair: pair[0] != pair[1]))) if len(rows) > 1 else set()
    return rows, [(*pair, draw(st.integers(1, 50))) for pair in sorted(pairs)]


@given(concepts(), st.integers(1, 40))
def test_every_concept_has_a_partition_within_the_limit(given_concepts, limit):
    rows, visits = given_concepts
    partitions = packed(rows, visits, limit)
    assert partitions.dtype == np.int32
    assert len(partitions) == len(rows)
    # Numbered without gaps, in the order of their first concepts.
    assert list(dict.fromkeys(partitions.tolist())) == list(range(len(set(partitions.tolist()))))
    for partition in set(partitions.tolist()):
        held = [count for count, at in zip(rows, partitions, strict=True) if at == partition]
        assert sum(held) <= limit or sum(count > 0 for count in held) == 1
    assert np.array_equal(partitions, packed(rows, visits, limit))


@examples(0.4)
@given(concepts(), st.integers(1, 40), st.randoms(use_true_random=False))
def test_the_order_of_the_visits_does_not_matter(given_concepts, limit, random):
    rows, visits = given_concepts
    shuffled = random.sample(visits, len(visits))
    assert np.array_equal(packed(rows, visits, limit), packed(rows, shuffled, limit))


@pytest.mark.parametrize("seed", range(4))
def test_concepts_that_visit_each_other_stand_together(seed):
    # Families of four, whose members visit each other and a stranger now and then.
    random = np.random.default_rng(seed)
    family = random.permutation(np.repeat(np.arange(10), 4))
    visits = [
        (one, two, 50 if family[one] == family[two] else 1)
        for one in range(40)
        for two in range(40)
        if one != two and (family[one] == family[two] or random.random() < 0.05)
    ]
    partitions = packed([10] * 40, visits, 40)
    assert {len(set(partitions[family == one].tolist())) for one in range(10)} == {1}
    assert len(set(partitions.tolist())) == 10


def test_the_largest_share_comes_first():
    # 1 is visited more often, but mostly by others; all that 2 visits is 0.
    assert packed([10, 10, 10, 10], [(0, 1, 60), (0, 2, 50), (1, 3, 500)], 20).tolist() == [0, 1, 0, 1]


def test_visits_in_both_directions_count_together():
    assert packed([10, 10, 10], [(0, 1, 100), (1, 0, 1), (0, 2, 50)], 20).tolist() == [0, 0, 1]


def test_without_visits_concepts_stand_in_order():
    assert packed([10] * 6, [], 30).tolist() == [0, 0, 0, 1, 1, 1]
    assert packed([10] * 6, [], 29).tolist() == [0, 0, 1, 1, 2, 2]


def test_a_concept_above_the_limit_stands_alone():
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
