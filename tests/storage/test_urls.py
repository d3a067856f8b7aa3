"""URLs and paths: which are on this machine's disk."""

import pytest

from filtering.core.errors import InputError
from filtering.storage.urls import absolute, is_local


def test_local_and_remote():
    assert is_local("/data/x")
    assert is_local("file:///data/x")
    assert not is_local("memory://x")
    assert absolute("memory://x/y") == "memory://x/y"


def test_an_unknown_scheme_is_refused():
    with pytest.raises(InputError, match="cannot be opened"):
        is_local("nosuchscheme://x")
