"""The smallest configuration, and what is said of a wrong one."""

import pytest

from filtering.config.run import parse_config
from filtering.core.errors import InputError

SMALLEST = {"input": {"shards": "pool/*.tar"}, "output": "runs/first"}


def given(**changes):
    return {**SMALLEST, **changes}


def refusals(data):
    """A line for each mistake."""
    with pytest.raises(InputError) as refused:
        parse_config(data)
    lines = str(refused.value).split("\n")
    assert str(refused.value).splitlines() == lines
    return lines


def refusal(data):
    """The one line that is said."""
    (message,) = refusals(data)
    assert message.splitlines() == [message]
    return message
