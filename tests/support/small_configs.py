"""The smallest configuration, and what is said of a wrong one."""

import pytest

from filtering.config.run import parse_config
from filtering.core.errors import InputError

SMALLEST = {"input": {"shards": "pool/*.tar"}, "output": "runs/first"}


def given(**changes):
    return {**SMALLEST, **changes}


def refusal(data):
    with pytest.raises(InputError) as refused:
        parse_config(data)
    message = str(refused.value)
    assert message.splitlines() == [message]
    return message
