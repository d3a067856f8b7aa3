import pickle

import pytest

from filtering.core.errors import InputError
from filtering.core.visible import visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("\x9b31m\x7f\x00\x08", r"\x9b31m\x7f\x00\x08"),
        ("a\r\nb\tc\x0b", r"a\r\nb\tc\x0b"),
        ("\u202egnp.exe\u2066\u2069\u200f", r"\u202egnp.exe\u2066\u2069\u200f"),
        ("one\u2028two\u2029three\x85", r"one\u2028two\u2029three\x85"),
        ("half \ud83d", r"half \ud83d"),
    ],
)
def test_what_a_terminal_obeys_is_written_out(text, shown):
    assert visible(text) == shown
    assert visible(shown) == shown


@pytest.mark.parametrize("text", ["", "a cat", "ein Kätzchen, 猫, קוט, قطة", "👩‍👩‍👧 ✓ ━╸", r"C:\new \x1b"])
def test_what_people_write_stays_as_it_is(text):
    assert visible(text) == text


def test_an_error_has_the_lines_that_it_was_given_however_often_it_is_sent():
    error = InputError("pool/a\nb.tar: is not there", "output: \x1b[2J")
    for one in (error, pickle.loads(pickle.dumps(error))):
        assert str(one).split("\n") == [r"pool/a\nb.tar: is not there", r"output: \x1b[2J"]
