import numpy as np
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st

from filtering.core.fixed_point import as_distance, in_steps, squared_lengths, squared_steps
from filtering.core.step_products import aligned
from filtering.graph import query_search
from filtering.graph.query_search import Members, meet

CONCEPTS = 3


def members_of(random, count, first):
    """Rows of few different directions, at home in one concept and in some others by replicas."""
    vectors = random.integers(-1, 2, (count, 4)).astype(np.float32)
    vectors[~vectors.any(axis=1)] = 1
    vectors += random.choice([0, 0.01]) * random.normal(size=vectors.shape).astype(np.float32)
    home = random.integers(0, CONCEPTS, count).astype(np.int32)
    stands = random.random((count, CONCEPTS)) < 0.4
    stands[np.arange(count), home] = True
    place, concept = np.nonzero(stands)
    order = np.lexsort((place, concept != home[place], concept))
    steps = aligned(in_steps(vectors / np.linalg.norm(vectors, axis=1, keepdims=True)))
    return Members(np.arange(first, first + count), home, steps, place[order], concept[order].astype(np.int32))


def by_loops(queries, fresh, rows, radius, k):
    """What each query finds, and each row of queries that are new: (distance, id, home), nearest first."""
    concepts = [
        {row: set(some.concept[some.place == row].tolist()) for row in range(len(some.row))} for some in (queries, rows)
    ]
    lengths = [squared_lengths(some.steps) for some in (queries, rows)]
    found, offered = ([set() for _ in some.row] for some in (queries, rows))
    for query in range(len(queries.row)):
        for row in range(len(rows.row)):
            both = concepts[0][query] & concepts[1][row]
            if not both & {int(queries.home[query]), int(rows.home[row])}:
                continue
            total = lengths[0][query] + lengths[1][row]
            apart = float(as_distance(squared_steps(queries.steps[query], rows.steps[row], total)))
            if queries.row[query] != rows.row[row]:
                found[query].add((apart, int(rows.row[row]), int(rows.home[row])))
            if fresh[query] and apart <= radius[row]:
                offered[row].add((apart, int(queries.row[query]), int(queries.home[query])))
    return [sorted(one)[:k] for one in found], [sorted(one)[:k] for one in offered]


def lists_of(found):
    return [
        [entry for entry in zip(apart.tolist(), ids.tolist(), homes.tolist(), strict=True) if entry[1] >= 0]
        for apart, ids, homes in zip(found.distances, found.ids, found.homes, strict=True)
    ]


@pytest.mark.parametrize("block", [2, 512])
@examples(0.4)
@given(st.integers(0, 2**32 - 1), st.integers(0, 12), st.integers(0, 12) | st.integers(100, 300), st.integers(1, 4))
def test_queries_find_their_nearest_rows_and_rows_the_new_queries_within_their_radius(block, seed, few, count, k):
    random = np.random.default_rng(seed)
    # Some query rows are the shard's own.
    queries, rows = members_of(random, few, 5), members_of(random, count, 0)
    fresh = random.random(few) < 0.7
    radius = random.choice(np.array([-1, 0, 1e-4, 0.5, 2, np.inf], dtype=np.float32), count)
    radius[np.isin(rows.row, queries.row)] = -1
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(query_search, "BLOCK_ROWS", block)
        found = meet(queries, fresh, rows, radius, k)
    expected = by_loops(queries, fresh, rows, radius, k)
    assert lists_of(found.by_queries) == expected[0]
    assert lists_of(found.by_rows) == expected[1]
