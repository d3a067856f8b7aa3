"""Vectors of any length: unit ones in float32, and halves that keep the direction."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filtering.embedding.artifacts import half_rows, unit_rows

DIRECTIONS = np.random.default_rng(0).normal(size=(50, 16)).astype(np.float32)


@given(exponent=st.integers(-100, 100))
def test_a_power_of_two_changes_no_digit(exponent):
    scaled = np.ldexp(DIRECTIONS, exponent).astype(np.float32)
    assert np.array_equal(unit_rows(scaled), unit_rows(DIRECTIONS))
    assert np.array_equal(half_rows(scaled), half_rows(DIRECTIONS))


@pytest.mark.parametrize("scale", [1e-300, 1e-30, 1e-20, 1e-5, 1e5, 1e20, 1e30, 1e300])
def test_unit_rows_of_any_length(scale):
    wide = DIRECTIONS.astype(np.float64) * scale
    assert np.allclose(unit_rows(wide), unit_rows(DIRECTIONS), rtol=0, atol=1e-6)
    if 1e-36 < scale < 1e36:
        assert np.allclose(unit_rows(wide.astype(np.float32)), unit_rows(DIRECTIONS), rtol=0, atol=1e-6)


def test_rows_of_different_lengths_stand_side_by_side():
    scales = np.logspace(-30, 30, len(DIRECTIONS))[:, None]
    assert np.allclose(unit_rows(DIRECTIONS * scales), unit_rows(DIRECTIONS), rtol=0, atol=1e-6)


def test_zero_stays_zero_and_halves_stay_as_they_are():
    rows = np.array([[0, 0], [3, 4]], dtype=np.float32)
    assert np.array_equal(unit_rows(rows), np.array([[0, 0], [0.6, 0.8]], dtype=np.float32))
    halves = np.array([[3, 4], [1e-7, 6e4]], dtype=np.float16)
    assert half_rows(halves).tobytes() == halves.tobytes()
