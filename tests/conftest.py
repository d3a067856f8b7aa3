"""Fixtures: small real pools, and one Ray for the whole session.

With pytest-xdist each worker is a session: it has its own Ray, its own S3 and its own temporary folders.
"""

import gc
import os
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

# Several workers share the cores, and threads that spin for each other's sake cost more than they give.
if "PYTEST_XDIST_WORKER" in os.environ:
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(variable, "1")

import pytest
from faulty_proxy import FaultyProxy
from hypothesis import HealthCheck, settings
from pools import Silent, members, metadata_config, tar_config, write_metadata, write_tar
from s3_endpoint import s3_at
from s3_server import Server, s3_server
from weighed import repeats_of, write_weighed

from filtering.config.run import Config, parse_config
from filtering.pipeline import run as pipeline
from filtering.storage.retries import taken

# Chosen by --hypothesis-profile: quick by `make check`, full by `make test`, thorough before a release.
# tests/support/examples.py says how a test asks for more or fewer than the profile.
# A machine that is busy with other tests is slow, which says nothing about a test.
for profile, count in {"quick": 10, "full": 100, "thorough": 1000}.items():
    settings.register_profile(
        profile, max_examples=count, deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
    )
settings.load_profile("full")


def pytest_collection() -> None:
    """Do not look for garbage among what is being imported."""
    gc.disable()


def pytest_collection_finish() -> None:
    """Nor ever again: each look through all that was imported takes half a second."""
    gc.freeze()
    gc.enable()


RAY_FILES = pytest.StashKey[set[Path]]()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what needs a real Ray; begin with the files on it, then those that take longest: no worker ends alone."""
    for item in items:
        if "cluster" in getattr(item, "fixturenames", ()):
            item.add_marker("ray")
        if item.get_closest_marker("ray"):
            item.add_marker("slow")
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    on_ray = config.stash[RAY_FILES] = {item.path for item in items if item.get_closest_marker("ray")}
    items.sort(key=lambda item: (item.path not in on_ray, -slow[item.path]))


@pytest.fixture(scope="session", autouse=True)
def rays() -> Iterator[Path]:
    """The folder in which every Ray that the session's tests start has one of its own."""
    # Short: the path of a socket may have 107 characters.
    temporary = tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp", ignore_cleanup_errors=True)
    with temporary as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_TMPDIR", folder)
        yield Path(folder) / "ray"
        end_ray()


@pytest.fixture(autouse=True)
def started_rays(request, rays) -> Iterator[None]:
    """Refuse a test that starts a Ray and is not marked `ray`: it takes seconds, which `make check` does not have."""
    before = set(rays.glob("*/session_*"))
    yield
    if not request.node.get_closest_marker("ray"):
        assert set(rays.glob("*/session_*")) == before, "starts a Ray: mark it with pytest.mark.ray"


@pytest.fixture(scope="module", autouse=True)
def needed_ray(request) -> None:
    """End the Ray of the files before if this one has no use for it: a Ray that idles takes a sixth of a core."""
    if request.path not in request.config.stash[RAY_FILES]:
        end_ray()


# The one that the fixture `cluster` has started.
STARTED = []


def end_ray() -> None:
    while STARTED:
        STARTED.pop().stop()


@pytest.fixture(scope="module")
def cluster(rays, shared_proxy, s3) -> str:
    """A Ray of two CPUs that every run of the session shares, and whose workers reach the S3; its address."""
    # Here: runs in this process need none, and it takes seconds.
    import ray

    from filtering.runtime.local_ray import LocalRay

    if not STARTED:
        # Metrics every 10 seconds by default, which test_metrics.py would wait for twice.
        local = LocalRay(2, RAY_metrics_report_interval_ms="2000")
        # As on a cluster's machines: workers have the credentials in their environment, which is that of Ray's start.
        with s3_at(shared_proxy.url, s3.keys):
            local.start()
        STARTED.append(local)
    return ray.get_runtime_context().gcs_address


@pytest.fixture
def joined(cluster) -> dict[str, str]:
    """The environment in which a run of its own process joins the session's Ray, rather than start one."""
    return {"RAY_ADDRESS": cluster}


@pytest.fixture(params=["none", pytest.param("auto", marks=pytest.mark.ray)], ids=["in process", "on Ray"])
def executor(request) -> dict[str, str]:
    """The section `ray` of a configuration, for each executor."""
    if request.param == "auto":
        request.getfixturevalue("cluster")
    return {"address": request.param}


@pytest.fixture
def run():
    """Run a configuration and return its run.json; the driver is this process."""

    def start(config: Config | dict) -> dict:
        parsed = config if isinstance(config, Config) else parse_config(config)
        return pipeline.run(parsed, Silent())

    return start


@pytest.fixture(scope="session")
def metadata_pool(tmp_path_factory) -> Path:
    """DataComp metadata of two files: l14 arrays in 12 groups, captions that fit more or less."""
    return write_metadata(tmp_path_factory.mktemp("metadata"), [600, 500])


@pytest.fixture(scope="session")
def metadata_run(metadata_pool, tmp_path_factory) -> Path:
    """An undisturbed run over `metadata_pool`, to compare others with and to read."""
    folder = tmp_path_factory.mktemp("calm") / "run"
    pipeline.run(parse_config(metadata_config(metadata_pool, folder)), Silent())
    return folder


@pytest.fixture(scope="session")
def tar_pool(tmp_path_factory) -> Path:
    """Three shards of pictures with captions."""
    folder = tmp_path_factory.mktemp("tars")
    for shard in range(3):
        write_tar(folder / f"{shard:08d}.tar", members(shard, 20))
    return folder


@pytest.fixture(scope="session")
def tar_run(tar_pool, tmp_path_factory) -> Path:
    """An undisturbed run over `tar_pool`, to compare others with and to read."""
    folder = tmp_path_factory.mktemp("calm") / "run"
    pipeline.run(parse_config(tar_config(tar_pool, folder)), Silent())
    return folder


@pytest.fixture(scope="session")
def weighed(tar_pool, tmp_path_factory) -> Path:
    """A run over `tar_pool` in which samples are seen once to six times in an epoch."""
    return write_weighed(tar_pool, tmp_path_factory.mktemp("weighed") / "run")


@pytest.fixture(scope="session")
def repeats(weighed) -> Counter[str]:
    """How often `weighed` says that each kept sample is seen, by its key."""
    return repeats_of(weighed)


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
def proxy(shared_proxy, s3, monkeypatch) -> Iterator[FaultyProxy]:
    """The proxy without faults, and this process set up to reach the store through it."""
    # The faults depend on how often a request came, not on when; tests/storage/test_retries.py looks at the pauses.
    monkeypatch.setattr("filtering.storage.retries.FIRST_CEILING_SECONDS", 0.01)
    with s3_at(shared_proxy.url, s3.keys):
        shared_proxy.set()
        taken()
        yield shared_proxy
