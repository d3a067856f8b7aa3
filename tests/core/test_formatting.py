import pytest

from filtering.core.formatting import counted, duration, size


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


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (999.6, "1.00 kB"),
        (1_000, "1.00 kB"),
        (99_960, "100 kB"),
        (345_000_000, "345 MB"),
        (1_380_000_000, "1.38 GB"),
        (49.1e12, "49.1 TB"),
        (5e18, "5,000 PB"),
    ],
)
def test_bytes_have_three_digits(count, words):
    assert size(count) == words


def test_one_thing_is_no_things():
    assert [counted(number, "shard") for number in (0, 1, 1204)] == ["0 shards", "1 shard", "1,204 shards"]
    assert [counted(number, "of them is", "of them are") for number in (1, 2)] == ["1 of them is", "2 of them are"]
