from dataclasses import dataclass

import pytest
from typing_extensions import TypedDict

from filtering.core.errors import DamagedError
from filtering.core.parsing import Count, Finite, parsed


@dataclass(frozen=True)
class Pair:
    name: str
    sizes: tuple[int, ...] = ()


class Line(TypedDict):
    kept: Count
    time: Finite


def test_json_becomes_the_type_that_is_asked_for():
    assert parsed(list[Pair], b'[{"name": "a", "sizes": [1, 2]}, {"name": "b"}]', "x") == [Pair("a", (1, 2)), Pair("b")]
    assert parsed(dict[Count, list[Count]], b'{"3": [1]}', "x") == {3: [1]}


@pytest.mark.parametrize(
    "data",
    [
        *(
            b'{"kept": %s, "time": 1.5}' % value
            for value in (b"-1", b'"3"', b"1.5", b"true", b"null", b"[]", b"1" * 50)
        ),
        *(b'{"kept": 1, "time": %s}' % value for value in (b"NaN", b"Infinity", b"1e300", b'"1"')),
        *(b'{"time": 1.5}', b"[]", b"7", b"null"),
        *(b"", b"{", b"\xff\xfe", b"[" * 100_000, b"9" * 6000, b'{"kept": 1, "time": 1.5}}'),
    ],
)
def test_what_is_something_else_is_refused_in_one_line_that_names_it(data):
    with pytest.raises(DamagedError, match=r"^runs/1/x\.json: is ") as refused:
        parsed(Line, data, "runs/1/x.json")
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 300
    assert refused.value.exit_status == 2


def test_the_place_of_what_is_wrong_is_named():
    with pytest.raises(DamagedError, match=r"\(1\.sizes\.0: "):
        parsed(list[Pair], b'[{"name": "a"}, {"name": "b", "sizes": ["x"]}]', "x")
    with pytest.raises(DamagedError) as refused:
        parsed(dict[Count, Count], b'{"%s": 1}' % (b"k" * 10_000), "x")
    assert len(str(refused.value)) < 300
