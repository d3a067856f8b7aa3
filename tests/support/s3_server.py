"""An S3 for tests: the one that environment variables name, else moto in a process of its own.

FILTERING_TEST_S3_ENDPOINT and FILTERING_TEST_S3_BUCKET name a store and a bucket that may be written to; the keys are
the usual AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.
"""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import boto3

MOTO_KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "secret-of-the-test"}


@dataclass(frozen=True)
class Server:
    """A running S3.

    Attributes
    ----------
    endpoint : its URL.
    bucket : an existing bucket.
    keys : the environment variables of its credentials.
    """

    endpoint: str
    bucket: str
    keys: dict[str, str]

    def client(self) -> Any:
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.keys["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.keys["AWS_SECRET_ACCESS_KEY"],
            region_name="us-east-1",
        )


@contextlib.contextmanager
def s3_server() -> Iterator[Server]:
    endpoint = os.environ.get("FILTERING_TEST_S3_ENDPOINT")
    if endpoint:
        keys = {name: os.environ[name] for name in MOTO_KEYS}
        yield Server(endpoint, os.environ["FILTERING_TEST_S3_BUCKET"], keys)
        return
    with _moto() as port:
        server = Server(f"http://127.0.0.1:{port}", "filtering", MOTO_KEYS)
        server.client().create_bucket(Bucket=server.bucket)
        yield server


@contextlib.contextmanager
def _moto() -> Iterator[int]:
    process = subprocess.Popen([sys.executable, __file__], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    try:
        port = process.stdout.readline()
        assert port, "moto ended"
        yield int(port)
    finally:
        process.terminate()
        process.wait()


def main() -> None:
    """Run moto's server on a port that is free, and print the port once it listens."""
    # Here: what only asks a server needs nothing of moto.
    from moto import backends, server
    from werkzeug.serving import make_server

    # It lists its folder once a request, which takes longer than the answer.
    modules = tuple(backends.list_of_moto_modules())
    backends.list_of_moto_modules = lambda: modules
    application = server.DomainDispatcherApplication(server.create_backend_app)
    # Whoever chose a port for it could find the port taken once it begins.
    serving = make_server("127.0.0.1", 0, application, threaded=True, request_handler=server.MotoRequestHandler)
    os.environ["MOTO_PORT"] = str(serving.port)
    print(serving.port, flush=True)
    serving.serve_forever()


if __name__ == "__main__":
    main()
