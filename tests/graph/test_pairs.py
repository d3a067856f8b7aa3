"""Every kind of products finds the neighbours that a plain search in whole numbers finds, bit for bit."""

from functools import partial

import numpy as np
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from plain_neighbours import plain_neighbours, unit
from threadpoolctl import threadpool_limits

from filtering.core.fixed_point import in_steps
from filtering.embedding.artifacts import unit_rows
from filtering.graph import pairs, products, ranking
from filtering.graph.pairs import member_neighbours

KINDS = {kind: partial(member_neighbours, kind=kind) for kind in ("bytes", "steps", "float32")}
# What runs on a GPU, by torch: it takes this name for its CPU's, and the search does not.
KINDS["torch"] = partial(member_neighbours, device="cpu:0")


@pytest.fixture(params=KINDS.values(), ids=KINDS)
def search(request):
    return request.param


def steps_of(points):
    return in_steps(unit_rows(np.asarray(points, dtype=np.float32)))


def assert_plain(search, steps, own, k, ids=None):
    neighbours, distances = search(steps, own, k, ids)
    expected, lengths = plain_neighbours(steps, own, k, ids)
    assert (neighbours.dtype, distances.dtype) == (np.int32, np.float32)
    assert np.array_equal(neighbours, expected)
    assert np.array_equal(distances, lengths)
    return neighbours, distances


@pytest.mark.parametrize(("rows", "own"), [(2, 1), (12, 12), (300, 300), (300, 299), (300, 120), (300, 1)])
@pytest.mark.parametrize("k", [1, 10])
def test_random_members(search, rows, own, k):
    assert_plain(search, steps_of(unit(np.random.default_rng(rows), rows, 24)), own, k)


@pytest.mark.parametrize(("rows", "width"), [(1_100, 64), (700, 100), (600, 768)])
@pytest.mark.parametrize("share", [1.0, 0.4])
def test_several_blocks(search, rows, width, share):
    assert_plain(search, steps_of(unit(np.random.default_rng(rows), rows, width)), int(rows * share), 10)


def near_duplicates(random, groups, copies, width, spread, jitter):
    """Groups of rows that are nearly equal, in a concept whose rows are close to each other, as float16 holds them."""
    centres = unit(random, 1, width) + spread * unit(random, groups, width)
    vectors = np.repeat(centres, copies, axis=0) + jitter * unit(random, groups * copies, width)
    return steps_of(vectors.astype(np.float16))


@pytest.mark.parametrize(("spread", "jitter"), [(0.5, 0.05), (0.03, 0.003), (0.03, 0.0003), (3e-4, 3e-5)])
def test_near_duplicates(search, spread, jitter):
    assert_plain(search, near_duplicates(np.random.default_rng(9), 20, 40, 64, spread, jitter), 500, 10)


def few_coordinates(random, rows, width, largest):
    """Rows with few different values in each coordinate, most of them 0, some in all."""
    drawn = random.integers(-largest, largest + 1, (rows, width))
    return np.where(random.random((rows, width)) < 3 / width, drawn, 0)


KINDS_OF_ROWS = st.sampled_from(["random", "equal", "groups", "close", "closest", "zero", "few", "line", "axes"])


def hostile(random, kind, rows, width):
    points = random.normal(size=(rows, width))
    match kind:
        case "equal":
            points[:] = points[:1]
        case "groups":
            points = points[random.integers(0, max(rows // 20, 1), rows)]
        case "close" | "closest":
            points = points[:1] + (1e-3 if kind == "close" else 3e-5) * points
        case "zero":
            points[: rows // 2] = 0
        case "few":
            points = few_coordinates(random, rows, width, 2)
        case "line":
            points[:, 2:] = 0
        case "axes":
            points = np.eye(width)[random.integers(0, width, rows)] * random.choice([-1, 1], (rows, 1))
    return steps_of(points)


@examples(0.6)
@given(
    KINDS_OF_ROWS,
    st.integers(1, 90),
    st.floats(0, 1),
    st.integers(1, 40),
    st.sampled_from([1, 3, 10, 60]),
    st.sampled_from([7, 64, 512]),
    st.integers(0, 2**32 - 1),
)
def test_hostile_members(kind, rows, share, width, k, block, seed):
    random = np.random.default_rng(seed)
    steps, ids = hostile(random, kind, rows, width), random.permutation(rows) * 3
    own = round(share * rows)
    expected = plain_neighbours(steps, own, k, ids)
    with pytest.MonkeyPatch.context() as patch:
        for module in (pairs, products, ranking):
            patch.setattr(module, "BLOCK_ROWS", block)
        for search in KINDS.values():
            found = search(steps, own, k, ids)
            assert np.array_equal(found[0], expected[0])
            assert np.array_equal(found[1], expected[1])


@pytest.mark.parametrize("kind", ["equal", "groups", "close", "closest", "zero", "few", "axes"])
def test_many_hostile_members(search, kind):
    random = np.random.default_rng(1)
    steps = hostile(random, kind, 900, 40)
    assert_plain(search, steps, 600, 10, random.permutation(900))


@pytest.mark.parametrize("threads", [1, 2])
def test_any_number_of_threads(search, threads):
    steps = near_duplicates(np.random.default_rng(3), 30, 20, 128, 0.5, 0.01)
    with threadpool_limits(threads):
        assert_plain(search, steps, 450, 10)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("own", [0, 1, 4])
def test_fewer_candidates_than_neighbours_warn_of_nothing(search, own):
    assert_plain(search, steps_of(unit(np.random.default_rng(10), 12, 4)), own, 5)


def test_guests_are_compared_with_own_rows_alone(search):
    # Two replicas, equal to each other, far from the concept's rows.
    steps = steps_of(np.eye(5)[[0, 1, 2, 4, 4]])
    neighbours, distances = assert_plain(search, steps, 3, 4)
    assert neighbours[3:].tolist() == [[0, 1, 2, -1]] * 2
    assert np.allclose(distances[3:, :3], 2, atol=2e-4)
    assert sorted(neighbours[0].tolist()) == [1, 2, 3, 4]


@pytest.mark.parametrize("own", [0, 1, 3, 5])
def test_more_neighbours_asked_for_than_members(search, own):
    neighbours, _ = assert_plain(search, steps_of(unit(np.random.default_rng(1), 5, 8)), own, 30)
    assert (neighbours >= 0).sum(axis=1).tolist() == [4] * own + [own] * (5 - own)


@pytest.mark.parametrize("rows", [0, 1, 4])
def test_without_own_rows_there_are_no_neighbours(search, rows):
    neighbours, distances = search(steps_of(unit(np.random.default_rng(2), rows, 4)), 0, 3)
    assert neighbours.tolist() == [[-1] * 3] * rows
    assert distances.tolist() == [[np.inf] * 3] * rows


def test_equally_far_members_are_told_in_the_order_of_their_ids(search):
    steps = np.repeat(steps_of(unit(np.random.default_rng(4), 1, 16)), 60, axis=0)
    assert search(steps[:8], 8, 3)[0].tolist() == [[1, 2, 3], [0, 2, 3], [0, 1, 3], *[[0, 1, 2]] * 5]
    backwards, _ = search(steps, 60, 3, np.arange(60)[::-1].copy())
    assert backwards[:57].tolist() == [[59, 58, 57]] * 57


@pytest.mark.parametrize("own", [80, 30])
def test_distances_have_the_same_bits_from_both_ends(search, own):
    neighbours, distances = search(steps_of(unit(np.random.default_rng(6), 80, 37)), own, 79)
    matrix = np.full((80, 80), np.inf, dtype=np.float32)
    at, column = np.nonzero(neighbours >= 0)
    matrix[at, neighbours[at, column]] = distances[at, column]
    assert np.array_equal(matrix, matrix.T)
    assert np.isfinite(matrix).sum() == 80 * 79 - (80 - own) * (79 - own)


@pytest.mark.parametrize("width", [8, 16, 64])
def test_the_rows_are_left_as_they_are(search, width):
    steps = steps_of(unit(np.random.default_rng(8), 30, width))
    before = steps.copy()
    search(steps, 20, 3)
    assert np.array_equal(steps, before)


@pytest.mark.parametrize("shares", [(0.5, 0.5), (0.1, 0.9), (0.3, 0.4, 0.3)])
def test_the_nearest_of_what_parts_found_are_the_nearest_of_all(search, shares):
    # As in several concepts, or in a later run that compares new rows alone.
    random = np.random.default_rng(5)
    steps, ids = near_duplicates(random, 4, 50, 16, 0.5, 1e-3), random.permutation(200)
    ends = np.cumsum([round(share * 199) for share in shares])
    parts = np.split(1 + random.permutation(199), ends[:-1])
    offered = []
    for part in parts:
        places = np.concatenate([[0], part])
        neighbours, distances = search(steps[places], len(places), 10, ids[places])
        offered += zip(distances[0].tolist(), ids[places[neighbours[0]]].tolist(), strict=True)
    neighbours, distances = search(steps, 200, 10, ids)
    expected = list(zip(distances[0].tolist(), ids[neighbours[0]].tolist(), strict=True))
    assert sorted(offered)[:10] == expected
