"""Fixtures of storage."""

import uuid

import pytest

from filtering.storage.store import Store


@pytest.fixture
def store(proxy, s3):
    return Store(f"s3://{s3.bucket}/{uuid.uuid4().hex}")
