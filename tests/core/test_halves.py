import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from filtering.core.halves import unit_half_steps, unit_halves, widened_halves
from filtering.embedding.artifacts import unit_rows, unit_steps

EVERY_HALF = np.arange(1 << 16, dtype=np.uint16).view(np.float16)


def test_every_half_is_widened_exactly():
    found = widened_halves(EVERY_HALF.reshape(256, 256)).reshape(-1)
    assert np.array_equal(found, EVERY_HALF.astype(np.float32), equal_nan=True)
    assert np.array_equal(np.signbit(found), np.signbit(EVERY_HALF))


@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.sampled_from([1e-7, 1e-4, 1.0, 1e4]))
def test_halves_are_scaled_as_the_same_numbers_in_float32(seed, dimension, size):
    rows = (np.random.default_rng(seed).normal(size=(20, dimension)) * size).astype(np.float16)
    rows[3] = 0
    for halves in (rows, rows[::2]):
        wide = halves.astype(np.float32)
        assert unit_halves(halves).tobytes() == unit_rows(wide).tobytes()
        assert np.array_equal(unit_half_steps(halves), unit_steps(wide))


def test_what_is_no_number_stays_so():
    rows = np.array([[np.inf, 1], [np.nan, 1], [0, 0]], dtype=np.float16)
    assert np.array_equal(unit_halves(rows), [[np.nan, 0], [np.nan, np.nan], [0, 0]], equal_nan=True)
