import pytest

from filtering.units import duration


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.04, "0 s"),
        (0.44, "0.4 s"),
        (4, "4 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (192.4, "3 min 12 s"),
        (605, "10 min 05 s"),
        (3_599.6, "1 h"),
        (7_260, "2 h 01 min"),
        (4e7, "11,111 h 06 min"),
    ],
)
def test_durations_are_readable(seconds, text):
    assert duration(seconds) == text
