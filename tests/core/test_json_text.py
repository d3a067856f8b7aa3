import json
import math
from pathlib import Path

import pytest

from filtering.core.json_text import json_text


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_not_finite_are_null_wherever_they_stand(number):
    assert (
        json_text({"a": number, "b": [number, {"c": (number, 1.5)}]}) == '{"a": null, "b": [null, {"c": [null, 1.5]}]}'
    )


def test_other_data_is_as_the_library_writes_it():
    value = {"a": [1, 2.5, True, None, "NaN"], "b": {"c": []}}
    assert json_text(value) == json.dumps(value)
    assert json_text({"place": Path("x")}, default=str) == '{"place": "x"}'
