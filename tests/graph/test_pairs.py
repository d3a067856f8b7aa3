import numpy as np
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st

from filtering.embedding.artifacts import unit_rows
from filtering.graph import pairs
from filtering.graph.pairs import member_neighbours
from filtering.graph.quantised import quantised


def unit(random, rows, width):
    points = random.normal(size=(rows, width)).astype(np.float32)
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def search_in_bytes(vectors, own, k):
    return member_neighbours(vectors, own, k, quantised(vectors))


def search_by_torch(vectors, own, k):
    # What runs on a GPU, by torch: it takes this name for its CPU's, and the search does not.
    return member_neighbours(vectors, own, k, device="cpu:0")


@pytest.fixture(params=[member_neighbours, search_in_bytes, search_by_torch], ids=["float32", "bytes", "torch"])
def search(request):
    return request.param


def all_distances(vectors, own):
    """Squared distances between all members in float64, infinite where they are not compared."""
    points = vectors.astype(np.float64)
    apart = np.array([((points - point) ** 2).sum(axis=1) for point in points]).reshape(len(points), len(points))
    np.fill_diagonal(apart, np.inf)
    apart[own:, own:] = np.inf
    return apart


def nearest_distances(vectors, own, k):
    apart = np.sort(all_distances(vectors, own), axis=1)[:, :k]
    return np.pad(apart, ((0, 0), (0, k - apart.shape[1])), constant_values=np.inf)


def assert_sound(vectors, own, k, neighbours, distances):
    """What holds whatever the precision of the search: real neighbours, each once, with their true distances."""
    assert neighbours.shape == distances.shape == (len(vectors), k)
    assert (neighbours.dtype, distances.dtype) == (np.int32, np.float32)
    assert ((neighbours < 0) == np.isinf(distances)).all()
    apart = all_distances(vectors, own)
    told = {}
    for row in range(len(vectors)):
        found = neighbours[row][neighbours[row] >= 0].tolist()
        assert len(set(found)) == len(found) == min(k, int(np.isfinite(apart[row]).sum()))
        assert (neighbours[row, : len(found)] >= 0).all()
        assert np.isfinite(apart[row, found]).all()
        assert np.allclose(distances[row, : len(found)], apart[row, found], rtol=1e-4, atol=1e-9)
        assert (np.diff(distances[row, : len(found)]) >= 0).all()
        told |= {(row, other): distance for other, distance in zip(found, distances[row].tolist(), strict=False)}
    for (row, other), distance in told.items():
        assert told.get((other, row), distance) == distance


def assert_exact(vectors, own, k):
    neighbours, distances = member_neighbours(vectors, own, k)
    assert_sound(vectors, own, k, neighbours, distances)
    assert np.allclose(distances, nearest_distances(vectors, own, k), rtol=1e-4, atol=1e-9)
    return neighbours, distances


def recall(vectors, own, k, distances):
    exact = nearest_distances(vectors, own, k)
    there = np.isfinite(exact)
    near = distances <= np.where(there, exact, -np.inf).max(axis=1)[:, None] + 1e-6
    return (near & there).sum() / there.sum()


@pytest.mark.parametrize(("rows", "own"), [(2, 1), (12, 12), (300, 300), (300, 299), (300, 120), (300, 1)])
@pytest.mark.parametrize("k", [1, 10])
def test_random_members_match_brute_force(rows, own, k):
    assert_exact(unit(np.random.default_rng(rows), rows, 24), own, k)


@pytest.mark.parametrize(("rows", "width"), [(700, 64), (3_000, 512), (700, 100)])
@pytest.mark.parametrize("share", [1.0, 0.4])
def test_bytes_find_nearly_all(rows, width, share):
    own = int(rows * share)
    vectors = unit(np.random.default_rng(own), rows, width)
    neighbours, distances = search_in_bytes(vectors, own, 10)
    assert_sound(vectors[:50], 50, 10, *search_in_bytes(vectors[:50], 50, 10))
    exact = member_neighbours(vectors, own, 10)[1]
    assert (distances == exact).mean() >= 0.999
    assert (neighbours[own:] < own).all()


def test_rows_close_together_are_found_in_bytes():
    # Cosines above 0.99 differ by less than bytes tell apart, unless the mean is taken away.
    random = np.random.default_rng(0)
    vectors = unit(random, 1, 64) + 0.1 * unit(random, 500, 64)
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    neighbours, distances = search_in_bytes(vectors, 300, 10)
    assert_sound(vectors, 300, 10, neighbours, distances)
    assert recall(vectors, 300, 10, distances) >= 0.99


def near_duplicates(random, groups, copies, width, spread, jitter):
    """Groups of rows that are nearly equal, in a concept whose rows are close to each other, as float16 holds them."""
    centres = unit(random, 1, width) + spread * unit(random, groups, width)
    vectors = np.repeat(centres, copies, axis=0) + jitter * unit(random, groups * copies, width)
    return unit_rows(vectors.astype(np.float16))


@pytest.mark.parametrize(("spread", "jitter"), [(0.5, 0.05), (0.03, 0.003), (0.03, 0.0003)])
def test_near_duplicates_are_told_apart(search, spread, jitter):
    vectors = near_duplicates(np.random.default_rng(9), 20, 40, 64, spread, jitter)
    neighbours, distances = search(vectors, 500, 10)
    assert_sound(vectors, 500, 10, neighbours, distances)
    exact = nearest_distances(vectors, 500, 10)
    assert (distances <= exact[:, -1:] * 1.0001).mean() >= 0.99


@pytest.mark.parametrize("block", [7, 64])
@pytest.mark.parametrize("own", [45, 100, 120])
def test_near_duplicates_in_many_blocks_have_real_neighbours(search, monkeypatch, block, own):
    monkeypatch.setattr(pairs, "BLOCK_ROWS", block)
    vectors = np.random.default_rng(own).permutation(near_duplicates(np.random.default_rng(0), 4, 30, 16, 0.5, 1e-3))
    neighbours, distances = search(vectors, own, 5)
    assert_sound(vectors, own, 5, neighbours, distances)
    # Each has enough near-duplicates to find no others.
    assert (distances < 1e-4).mean() >= 0.99


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("own", [0, 1, 4])
def test_fewer_candidates_than_neighbours_warn_of_nothing(search, own):
    vectors = unit(np.random.default_rng(10), 12, 4)
    assert_sound(vectors, own, 5, *search(vectors, own, 5))


@pytest.mark.parametrize(("rows", "own"), [(2_300, 1_100), (2_100, 2_050), (1_200, 100)])
def test_several_blocks_match_brute_force(rows, own):
    assert_exact(unit(np.random.default_rng(own), rows, 8), own, 5)


@examples(0.4)
@given(st.integers(1, 40), st.floats(0, 1), st.integers(1, 9), st.integers(1, 12), st.integers(0, 2**32 - 1))
def test_wherever_blocks_end_the_neighbours_are_the_same(rows, share, block, k, seed):
    own = round(share * rows)
    vectors = unit(np.random.default_rng(seed), rows, 6)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pairs, "BLOCK_ROWS", block)
        assert_exact(vectors, own, k)


@examples(0.2)
@given(st.integers(1, 40), st.floats(0, 1), st.integers(1, 9), st.integers(1, 12), st.integers(0, 2**32 - 1))
def test_blocks_of_bytes_have_real_neighbours(rows, share, block, k, seed):
    own = round(share * rows)
    vectors = unit(np.random.default_rng(seed), rows, 6)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pairs, "BLOCK_ROWS", block)
        assert_sound(vectors, own, k, *search_in_bytes(vectors, own, k))


def test_guests_are_compared_with_own_rows_alone(search):
    # Two replicas, equal to each other, far from the concept's rows.
    vectors = np.eye(5, dtype=np.float32)[[0, 1, 2, 4, 4]]
    neighbours, distances = search(vectors, 3, 4)
    assert neighbours[3:].tolist() == [[0, 1, 2, -1]] * 2
    assert distances[3:].tolist() == [[2, 2, 2, np.inf]] * 2
    assert sorted(neighbours[0].tolist()) == [1, 2, 3, 4]


@pytest.mark.parametrize("own", [0, 1, 3, 5])
def test_more_neighbours_asked_for_than_members(search, own):
    vectors = unit(np.random.default_rng(1), 5, 8)
    neighbours, distances = search(vectors, own, 30)
    assert_sound(vectors, own, 30, neighbours, distances)
    assert (neighbours >= 0).sum(axis=1).tolist() == [4] * own + [own] * (5 - own)


@pytest.mark.parametrize("own", [0, 1])
def test_one_member_has_no_neighbours(search, own):
    neighbours, distances = search(np.eye(1, 4, dtype=np.float32), own, 3)
    assert neighbours.tolist() == [[-1] * 3]
    assert distances.tolist() == [[np.inf] * 3]


@pytest.mark.parametrize("rows", [0, 4])
def test_without_own_rows_there_are_no_neighbours(search, rows):
    neighbours, distances = search(unit(np.random.default_rng(2), rows, 4), 0, 3)
    assert neighbours.tolist() == [[-1] * 3] * rows
    assert distances.tolist() == [[np.inf] * 3] * rows


@pytest.mark.parametrize(("rows", "own"), [(40, 40), (40, 15), (1_500, 1_200)])
def test_equal_rows_have_neighbours_at_no_distance(search, rows, own):
    vectors = np.repeat(unit(np.random.default_rng(3), 1, 16), rows, axis=0)
    neighbours, distances = search(vectors, own, 5)
    assert (distances == 0).all()
    assert (neighbours >= 0).all()
    assert (neighbours != np.arange(rows)[:, None]).all()
    assert (np.diff(np.sort(neighbours, axis=1), axis=1) > 0).all()
    assert (neighbours[own:] < own).all()


def test_equally_far_members_are_told_in_order():
    neighbours, _ = member_neighbours(np.repeat(unit(np.random.default_rng(4), 1, 16), 8, axis=0), 8, 3)
    assert neighbours.tolist() == [[1, 2, 3], [0, 2, 3], [0, 1, 3], *[[0, 1, 2]] * 5]


@pytest.mark.parametrize("own", [120, 70])
@pytest.mark.parametrize("copies", [2, 4])
def test_duplicates_match_brute_force(own, copies):
    vectors = np.tile(unit(np.random.default_rng(5), 120 // copies, 16), (copies, 1))
    _, distances = assert_exact(vectors, own, 5)
    # Guests meet their duplicates among the own rows only.
    assert (distances[:own, : copies - 1] == 0).all()


@pytest.mark.parametrize("own", [80, 30])
def test_distances_have_the_same_bits_from_both_ends(search, own):
    vectors = unit(np.random.default_rng(6), 80, 37)
    neighbours, distances = search(vectors, own, 79)
    matrix = np.full((80, 80), np.inf, dtype=np.float32)
    at, column = np.nonzero(neighbours >= 0)
    matrix[at, neighbours[at, column]] = distances[at, column]
    assert np.array_equal(matrix, matrix.T)
    assert np.isfinite(matrix).sum() == 80 * 79 - (80 - own) * (79 - own)


def test_the_same_members_have_the_same_neighbours(search):
    vectors = unit(np.random.default_rng(7), 300, 16)
    first, again = search(vectors, 200, 10), search(vectors.copy(), 200, 10)
    assert np.array_equal(first[0], again[0])
    assert np.array_equal(first[1], again[1])


def test_the_vectors_are_left_as_they_are(search):
    vectors = unit(np.random.default_rng(8), 30, 8)
    before = vectors.copy()
    search(vectors, 20, 3)
    assert np.array_equal(vectors, before)
