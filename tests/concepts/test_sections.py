"""Oversized concepts are cut between rows that lie apart; equal rows stay together, or are known for copies."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pools import unit

from filtering.concepts.cutting import placed
from filtering.concepts.sections import cut_rows


def rows_of(count, dimension=16, seed=0):
    return unit(np.random.default_rng(seed).normal(size=(count, dimension)))


def numbers(count):
    return np.random.default_rng(9).integers(0, 2**63, count).astype(np.uint64)


@given(
    groups=st.lists(st.integers(1, 400), min_size=1, max_size=8),
    largest=st.integers(20, 300),
    seed=st.integers(0, 99),
)
def test_equal_rows_are_never_cut_unless_they_fill_a_section(groups, largest, seed):
    vectors = np.repeat(rows_of(len(groups), seed=seed), groups, axis=0)
    cut = cut_rows(vectors, len(vectors), largest)
    found = placed(cut, vectors, numbers(len(vectors)))
    ends = np.cumsum(groups)
    for end, count in zip(ends, groups, strict=True):
        own = np.unique(found.sections[end - count : end])
        assert len(own) == 1 if count <= largest else (own >= cut.first.min()).all()
        assert len(np.unique(found.leaves[end - count : end])) == 1
    assert found.sections.max() < cut.sections
    # Half of the copies of one vector, and no more, may have the same remainder by chance.
    sizes = np.bincount(found.sections)
    assert sizes[: int(cut.first.min()) if len(cut.first) else None].max(initial=0) <= largest


def test_rows_that_all_differ_fill_sections_evenly():
    vectors = rows_of(4_000)
    sizes = np.bincount(placed(cut_rows(vectors, 4_000, 500), vectors, numbers(4_000)).sections)
    assert sizes.max() <= 500
    assert 8 <= len(sizes) <= 16


def test_a_sample_says_where_the_whole_is_cut():
    vectors = np.concatenate([np.repeat(rows_of(1), 5_000, axis=0), rows_of(3_000, seed=1)])
    sample = vectors[np.random.default_rng(0).permutation(8_000)[:1_000]]
    cut = cut_rows(sample, 8_000, 1_000)
    sizes = np.bincount(placed(cut, vectors, numbers(8_000)).sections)
    assert sizes.max() < 1_300
    assert cut.count.tolist() in ([5], [6])


def test_groups_of_near_duplicates_are_cut_in_the_gaps_between_them():
    noise = 1e-3 * np.random.default_rng(1).normal(size=(1_500, 16))
    vectors = unit(np.repeat(rows_of(5), 300, axis=0) + noise)
    sections = placed(cut_rows(vectors, 1_500, 700), vectors, numbers(1_500)).sections.reshape(5, 300)
    assert all(len(np.unique(group)) == 1 for group in sections)
    assert len(np.unique(sections)) > 1


def test_equal_rows_lie_in_one_leaf_at_any_place_of_any_block():
    vectors = rows_of(700, dimension=48)
    cut = cut_rows(vectors, 700, 20)
    alone = np.concatenate([cut.leaves(vectors[row : row + 1]) for row in range(700)])
    assert np.array_equal(cut.leaves(vectors), alone)
    assert np.array_equal(cut.leaves(vectors[333:]), alone[333:])


@pytest.mark.parametrize("count", [0, 1, 2])
def test_few_rows_are_one_section(count):
    assert cut_rows(rows_of(count), 5_000, 1_000).sections <= 2
