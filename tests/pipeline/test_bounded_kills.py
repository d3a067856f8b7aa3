"""A run whose tasks hold little, so that there are several ranges and rounds, killed at a write, or damaged."""

from functools import partial

import pytest
from kills import Undisturbed, undisturbed
from mortal import comparable, mortal_storage
from pools import Silent, metadata_config, write_metadata
from sampling import some_of

from filtering.config.run import parse_config
from filtering.graph import component_stage
from filtering.graph import stage as graph_stage
from filtering.manifests import picks, pool_stage
from filtering.manifests.verify import problems
from filtering.pipeline import incremental
from filtering.storage.store import Store

pytestmark = pytest.mark.slow

RUN = Store("mortal://pool/run")
LIMITS = {
    (picks, "MOST_REQUESTS"): 0,
    (picks, "TOGETHER"): 1,
    (pool_stage, "RANGE_ROWS"): 25,
    (pool_stage, "BATCH_SHARDS"): 1,
    (graph_stage, "MOST_COUNTED_ROWS"): 0,
    (component_stage, "BUCKET_ROWS"): 40,
    (component_stage, "LAST_LINKS"): 0,
}
SMALL = {"concepts": {"clusters": 4, "partition_rows": 60}, "graph": {"k": 2}}


def start(config: dict) -> dict:
    return incremental.run(parse_config(config), Silent())


@pytest.fixture(scope="module", autouse=True)
def little():
    with pytest.MonkeyPatch.context() as patch:
        for (module, name), value in LIMITS.items():
            patch.setattr(module, name, value)
        patch.setattr("filtering.runtime.events.PUT_INTERVAL", float("inf"))
        yield


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    return write_metadata(tmp_path_factory.mktemp("small"), [60, 50])


@pytest.fixture(scope="module")
def calm(pool, little) -> Undisturbed:
    config = metadata_config(pool, RUN.url, selection={"method": "top", "keep": 0.8}, **SMALL)
    return undisturbed(mortal_storage(), partial(start, config))


def test_counts_and_manifest_are_those_of_tasks_that_hold_all(calm, pool, tmp_path):
    with pytest.MonkeyPatch.context() as patch:
        for module, name in LIMITS:
            patch.setattr(module, name, 10**6)
        whole = start(metadata_config(pool, tmp_path / "run", selection={"method": "top", "keep": 0.8}, **SMALL))
    assert calm.returned["manifest_hash"] == whole["manifest_hash"]
    assert calm.returned["graph"] == whole["graph"]
    assert calm.after["pool/run/manifest/subset.npy"] == (tmp_path / "run/manifest/subset.npy").read_bytes()


@pytest.mark.parametrize("stage", ["graph", "manifests"])
def test_it_ends_with_the_same_objects_wherever_it_is_killed(calm, stage):
    storage = mortal_storage()
    names = [calm.changes[place].path for place in calm.places()[stage]]
    assert any(".round-1." in name for name in names) == (stage == "graph")
    for place in some_of(calm.places()[stage], 6, step=17):
        calm.is_killed(storage, place)
        assert calm.goes_on(storage)["manifest_hash"] == calm.returned["manifest_hash"]
        assert list(problems(RUN)) == []


@pytest.mark.parametrize("of", [".subset", ".kept", "manifest/by_uid/00000001.parquet"])
def test_what_is_damaged_between_a_kill_and_the_next_start_is_made_again(calm, of):
    storage = mortal_storage()
    written = [place for place, change in enumerate(calm.changes) if change.path.endswith(of) and change.data]
    deleted = [place for place, change in enumerate(calm.changes) if change.path.endswith(of) and not change.data]
    # When the last is there, and where they are deleted again, just before the first is.
    for place in {written[-1] + 2, (deleted or [len(calm.changes) - 2])[0]}:
        calm.is_killed(storage, place)
        path = next(path for path in sorted(storage.objects) if path.endswith(of))
        data = bytearray(storage.objects[path])
        data[-1 if of == ".subset" else len(data) // 2] ^= 1
        storage.objects[path] = bytes(data)
        assert calm.start()["manifest_hash"] == calm.returned["manifest_hash"]
        assert list(problems(RUN)) == []
        final = {name: found for name, found in comparable(storage.objects).items() if "/run/manifest/" in name}
        assert final == {name: found for name, found in comparable(calm.after).items() if "/run/manifest/" in name}
