import hashlib
import math
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filtering.core import portable_math
from filtering.core.portable_math import cbrt, exp, exps, largest_products, log, logs, matrix_product, row_products

PRINT_BITS = """
import hashlib
import numpy as np
from filtering.core.portable_math import exps, logs
values = np.random.default_rng(0).uniform(-700, 700, 20_000)
print(hashlib.sha256(exps(values).tobytes() + logs(np.abs(values)).tobytes()).hexdigest())
"""


def apart(found, expected):
    """The difference in units in the last place."""
    return 0 if found == expected else abs(found - expected) / math.ulp(expected)


@given(st.floats(-700, 700))
def test_exp_is_exact_but_for_the_last_digit(value):
    assert apart(exp(value), math.exp(value)) <= 2


@given(st.floats(min_value=0, exclude_min=True, allow_infinity=False))
def test_log_is_exact_but_for_the_last_digit(value):
    assert apart(log(value), math.log(value)) <= 2


@given(st.floats(1e-300, 1e300))
def test_cbrt_is_exact_but_for_the_last_digit(value):
    assert apart(cbrt(value), np.cbrt(value)) <= 2


def test_the_ends_are_those_of_the_functions():
    assert exp(0.0) == 1 and exp(-math.inf) == 0 and exp(math.inf) == math.inf and math.isnan(exp(math.nan))
    assert exp(710.0) == math.inf and exp(709.7) < math.inf and exp(-746.0) == 0 and exp(-742.9) > 0
    assert log(1.0) == 0 and log(0.0) == -math.inf and log(math.inf) == math.inf and math.isnan(log(-1.0))
    assert cbrt(0.0) == 0 and cbrt(27.0) == 3


def test_arrays_of_any_shape():
    values = np.arange(1, 7, dtype=np.float32).reshape(2, 3)
    assert exps(values) == pytest.approx(np.exp(values.astype(np.float64)))
    assert logs(values) == pytest.approx(np.log(values.astype(np.float64)))


@pytest.mark.slow
@pytest.mark.parametrize("cpu", ["generic", "x86-64-v2", "haswell"])
def test_the_bits_do_not_depend_on_the_instructions_of_the_cpu(cpu, tmp_path):
    values = np.random.default_rng(0).uniform(-700, 700, 20_000)
    here = hashlib.sha256(exps(values).tobytes() + logs(np.abs(values)).tobytes()).hexdigest()
    environment = os.environ | {"NUMBA_CPU_NAME": cpu, "NUMBA_CPU_FEATURES": "", "NUMBA_CACHE_DIR": str(tmp_path)}
    found = subprocess.run(
        [sys.executable, "-c", PRINT_BITS], env=environment, capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == here


@given(st.integers(0, 2**32 - 1), st.integers(0, 12), st.integers(1, 40))
def test_products_of_rows_are_those_of_numpy(seed, rows, dimension):
    random = np.random.default_rng(seed)
    left, right = random.normal(size=(2, rows, dimension)).astype(np.float32)
    assert row_products(left, right) == pytest.approx((left.astype(np.float64) * right).sum(axis=1))
    mean = random.normal(size=dimension)
    assert row_products(left, mean) == pytest.approx(left.astype(np.float64) @ mean)


@given(st.integers(0, 2**32 - 1), st.integers(0, 12), st.integers(1, 12), st.booleans(), st.integers(1, 5))
def test_largest_products_are_those_of_the_rows(seed, rows, others, absolute, block):
    random = np.random.default_rng(seed)
    left, right = (unit(random.integers(-1, 2, size=(count, 6)) + 0.01) for count in (rows, others))
    every = np.array([row_products(np.tile(row, (others, 1)), right) for row in left]).reshape(rows, others)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(portable_math, "BLOCK_ROWS", block)
        found = largest_products(left, right, absolute=absolute)
    assert np.array_equal(found, (np.abs(every) if absolute else every).max(axis=1, initial=-np.inf))


def test_the_largest_product_of_no_rows_is_minus_infinity():
    assert largest_products(unit(np.ones((2, 3))), np.zeros((0, 3), np.float32)).tolist() == [-np.inf, -np.inf]


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@given(st.integers(0, 2**32 - 1), st.integers(0, 9), st.integers(1, 9), st.integers(1, 9))
def test_products_of_matrices_are_those_of_numpy_whatever_rows_stand_beside(seed, rows, depth, columns):
    random = np.random.default_rng(seed)
    left = random.normal(size=(rows, depth)).astype(np.float32)
    right = random.normal(size=(columns, depth)).astype(np.float32)
    found = matrix_product(left, right.T)
    assert found == pytest.approx(left @ right.T, abs=1e-5)
    assert all(np.array_equal(matrix_product(left[at : at + 1], right.T)[0], found[at]) for at in range(rows))
