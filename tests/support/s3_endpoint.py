"""This process set up to reach an S3."""

import contextlib
import os
from collections.abc import Iterator, Mapping
from unittest import mock

import fsspec


@contextlib.contextmanager
def s3_at(url: str, keys: Mapping[str, str]) -> Iterator[None]:
    """Reach the S3 at a URL with credentials, given as environment variables."""
    endpoint = dict.fromkeys(("AWS_ENDPOINT_URL", "FSSPEC_S3_ENDPOINT_URL"), url)
    with mock.patch.dict(os.environ, {"AWS_DEFAULT_REGION": "us-east-1", **endpoint, **keys}):
        _forget()
        try:
            yield
        finally:
            _forget()


def _forget() -> None:
    # A filesystem keeps the endpoint of when it was made.
    fsspec.get_filesystem_class("s3").clear_instance_cache()
