import hashlib
import math
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filtering.core.portable_math import cbrt, exp, exps, log, logs

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
