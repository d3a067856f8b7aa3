"""Fixtures of storage."""

import os
import uuid

import pytest

from filtering.storage.store import Store


@pytest.fixture
def file(tmp_path):
    """A file of five bytes that was written long ago."""
    (tmp_path / "blob").write_bytes(b"first")
    os.utime(tmp_path / "blob", (1, 1))
    return tmp_path / "blob"


@pytest.fixture
def store(proxy, s3):
    return Store(f"s3://{s3.bucket}/{uuid.uuid4().hex}")
