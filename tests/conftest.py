"""Fixtures: small real pools, and one Ray for the whole session."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import ray
from faulty_proxy import FaultyProxy
from pools import Silent, members, tar_config, write_metadata, write_tar
from s3_server import Server, s3_server

from filtering import pipeline
from filtering.config import Config, parse_config
from filtering.retries import taken
from filtering.s3 import RetryingS3


@pytest.fixture(scope="session")
def cluster() -> Iterator[str]:
    """A Ray of two CPUs that every run of the session shares; its address."""
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=256 << 20)
    yield ray.get_runtime_context().gcs_address
    ray.shutdown()


@pytest.fixture
def joined(cluster) -> dict[str, str]:
    """The environment in which a run of its own process joins the session's Ray, rather than start one."""
    return {"RAY_ADDRESS": cluster}


@pytest.fixture
def run(cluster):
    """Run a configuration in this process and return its run.json."""

    def start(config: Config | dict) -> dict:
        parsed = config if isinstance(config, Config) else parse_config(config)
        return pipeline.run(parsed, Silent())

    return start


@pytest.fixture(scope="session")
def metadata_pool(tmp_path_factory) -> Path:
    """DataComp metadata of two files: l14 arrays in 12 groups, captions that fit more or less."""
    return write_metadata(tmp_path_factory.mktemp("metadata"), [600, 500])


@pytest.fixture(scope="session")
def tar_pool(tmp_path_factory) -> Path:
    """Three shards of pictures with captions."""
    folder = tmp_path_factory.mktemp("tars")
    for shard in range(3):
        write_tar(folder / f"{shard:08d}.tar", members(shard, 20))
    return folder


@pytest.fixture(scope="session")
def tar_run(cluster, tar_pool, tmp_path_factory) -> Path:
    """An undisturbed run over `tar_pool`: what others are compared with."""
    folder = tmp_path_factory.mktemp("calm") / "run"
    pipeline.run(parse_config(tar_config(tar_pool, folder)), Silent())
    return folder


@pytest.fixture(scope="session")
def s3() -> Iterator[Server]:
    """An S3; s3_server.py says how to name another."""
    with s3_server() as running:
        yield running


@pytest.fixture(scope="session")
def shared_proxy(s3) -> Iterator[FaultyProxy]:
    with FaultyProxy(s3.endpoint) as running:
        yield running


@pytest.fixture
def proxy(shared_proxy, s3, monkeypatch) -> FaultyProxy:
    """The proxy without faults, and this process set up to reach the store through it."""
    for name, value in (s3.keys | {"AWS_DEFAULT_REGION": "us-east-1"}).items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_ENDPOINT_URL", "FSSPEC_S3_ENDPOINT_URL"):
        monkeypatch.setenv(name, shared_proxy.url)
    RetryingS3.clear_instance_cache()
    shared_proxy.set()
    taken()
    return shared_proxy
