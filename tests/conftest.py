"""Fixtures: small real pools, and one Ray for the whole session."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import ray
from pools import Silent, members, tar_config, write_metadata, write_tar

from filtering import pipeline
from filtering.config import Config, parse_config


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
