import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from filtering.graph.components import Components


def sizes_by_loop(rows, edges):
    """Spread the lowest number of each component until nothing changes."""
    numbers = list(range(rows))
    changed = True
    while changed:
        changed = False
        for left, right in edges:
            lowest = min(numbers[left], numbers[right])
            if numbers[left] != lowest or numbers[right] != lowest:
                numbers[left] = numbers[right] = lowest
                changed = True
    return sorted((numbers.count(number) for number in set(numbers)), reverse=True)


@st.composite
def graphs(draw):
    """Rows and the edges of some shards."""
    rows = draw(st.integers(1, 30))
    row = st.integers(0, rows - 1)
    return rows, draw(st.lists(st.lists(st.tuples(row, row), max_size=15), max_size=4))


@given(graphs())
def test_sizes_equal_a_loop(graph):
    rows, shards = graph
    components = Components(rows)
    for edges in shards:
        left, right = (np.array([edge[at] for edge in edges], dtype=np.int64) for at in range(2))
        components.join(left, right)
    sizes = components.sizes()
    assert sizes.tolist() == sizes_by_loop(rows, [edge for edges in shards for edge in edges])
    assert sizes.sum() == rows


def test_no_rows_have_no_components():
    assert Components(0).sizes().tolist() == []


def test_rows_without_edges_stand_alone():
    assert Components(3).sizes().tolist() == [1, 1, 1]


def test_more_edges_join_what_was_apart():
    components = Components(5)
    components.join(np.array([0, 2]), np.array([1, 3]))
    assert components.sizes().tolist() == [2, 2, 1]
    components.join(np.array([3]), np.array([0]))
    assert components.sizes().tolist() == [4, 1]


def test_a_long_chain_is_one_component():
    rows = 100_000
    components = Components(rows)
    components.join(np.arange(rows - 1)[::-1], np.arange(1, rows)[::-1])
    assert components.sizes().tolist() == [rows]
