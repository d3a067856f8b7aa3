"""This process set up to reach an S3."""

import contextlib
import os
from collections.abc import Iterator, Mapping

import fsspec


@contextlib.contextmanager
def s3_at(url: str, keys: Mapping[str, str]) -> Iterator[None]:
    """Reach the S3 at a URL with credentials, given as environment variables."""
    endpoint = dict.fromkeys(("AWS_ENDPOINT_URL", "FSSPEC_S3_ENDPOINT_URL"), url)
    settings = {"AWS_DEFAULT_REGION": "us-east-1", **endpoint, **keys}
    # What else is set meanwhile stays: Ray's start leaves the token of its cluster in the environment.
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    _forget()
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
        _forget()


def _forget() -> None:
    # A filesystem keeps the endpoint of when it was made.
    fsspec.get_filesystem_class("s3").clear_instance_cache()
