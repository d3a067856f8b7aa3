import numpy as np
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from plain_neighbours import unit

from filtering.core.fixed_point import in_steps
from filtering.graph.quantised import DEVIATION, STEPS, quantised


def steps_of(seed, rows, width):
    return in_steps(unit(np.random.default_rng(seed), rows, width))


def centre_of(steps):
    return steps.mean(axis=0).astype(np.int32)


def apart(rows):
    """Squared distances of all rows, float64."""
    wide = rows.astype(np.int64)
    squares = (wide**2).sum(axis=1)
    return (squares[:, None] + squares - 2 * wide @ wide.T).astype(np.float64)


def assert_bounded(steps, centre):
    coarse = quantised(steps, centre)
    found, exact = apart(coarse.rows), apart(steps) / coarse.step**2
    error = np.abs(found - exact)
    assert (error <= 2 * DEVIATION * np.sqrt(exact) + coarse.moved).all()
    return coarse


@pytest.mark.parametrize("width", [6, 64, 100, 512, 768])
def test_distances_stay_within_their_bounds(width):
    steps = steps_of(width, 400, width)
    assert_bounded(steps, centre_of(steps))


@pytest.mark.parametrize("kind", ["axes", "few", "close", "line", "tilted"])
def test_rows_of_any_kind_stay_within_their_bounds(kind):
    random = np.random.default_rng(2)
    points = random.normal(size=(300, 128))
    match kind:
        case "axes":
            points = np.eye(128)[random.integers(0, 128, 300)]
        case "few":
            points = np.where(random.random((300, 128)) < 0.03, 1.0, 0) + np.eye(1, 128)
        case "close":
            points = points[:1] + 1e-3 * points
        case "line":
            points[:, 1:] *= 1e-3
        case "tilted":
            points[:, 5] += 40
    steps = in_steps((points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32))
    for centre in (centre_of(steps), np.zeros(128, dtype=np.int32)):
        assert_bounded(steps, centre)


def test_rounding_is_much_less_than_its_bound():
    steps = steps_of(1, 300, 512)
    coarse = quantised(steps, centre_of(steps))
    exact = apart(steps)[0, 1:] / coarse.step**2
    error = apart(coarse.rows)[0, 1:] - exact
    # The share of |v|^2 that stands in the bound is more than ten standard deviations.
    assert error.std() * 10 < (2 * DEVIATION * np.sqrt(exact)).mean()
    assert coarse.moved < 512


@examples(0.3)
@given(st.integers(0, 40), st.integers(1, 200), st.integers(0, 2**32 - 1))
def test_any_rows_fit_and_their_halves_are_their_own(rows, width, seed):
    steps = steps_of(seed, rows, width)
    coarse = quantised(steps, np.zeros(width, dtype=np.int32))
    assert (coarse.rows.dtype, coarse.halves.dtype) == (np.int8, np.int32)
    assert coarse.rows.shape[0] == rows
    assert coarse.rows.shape[1] >= width
    assert np.abs(coarse.rows.astype(np.int64)).max(initial=0) <= STEPS + 0.5
    assert np.array_equal(coarse.halves, (coarse.rows.astype(np.int64) ** 2).sum(axis=1) // 2)


def test_rows_at_their_centre_are_zero():
    steps = np.repeat(steps_of(3, 1, 96), 5, axis=0)
    assert (quantised(steps, steps[0].astype(np.int32)).rows == 0).all()
