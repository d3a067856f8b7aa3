"""A run that is killed at any write goes on when it is started again, and ends with the objects of an undisturbed one.

One process writes to a storage that dies with it (tests/support/mortal.py). What a kill leaves is what was written
before, so that every kill there can be is tried; that a process that dies leaves just that, is tried here and there.
"""

import re
from collections import defaultdict
from dataclasses import dataclass

import pytest
from mortal import Change, MortalStorage, comparable, mortal_storage
from pools import Silent, metadata_config, write_metadata
from sampling import some_of

from filtering.config.run import parse_config
from filtering.core.errors import InputError
from filtering.manifests.verify import problems
from filtering.pipeline import incremental
from filtering.runtime.events import read_events
from filtering.storage.store import Store

STAGES = ("start", "inventory", "embedding", "filters", "concepts", "partitions")
STAGES += ("graph", "scores", "selection", "measures", "manifests", "report")
STAGE = re.compile(r"/stages/([a-z]+)-")


@dataclass(frozen=True)
class Calm:
    """An undisturbed run: what configures it, the objects before it and after, its changes, and its run.json.

    Attributes
    ----------
    places : by stage, how many changes there were before each of its changes.
    """

    config: dict
    before: dict[str, bytes]
    objects: dict[str, object]
    changes: tuple[Change, ...]
    record: dict
    places: dict[str, list[int]]

    @property
    def store(self) -> Store:
        return Store(self.config["output"])


def start(config: dict) -> dict:
    return incremental.run(parse_config(config), Silent())


def undisturbed(storage: MortalStorage, config: dict) -> Calm:
    before, known = dict(storage.objects), len(storage.changes)
    record = start(config)
    changes = tuple(storage.changes[known:])
    return Calm(config, before, comparable(storage.objects), changes, record, places(changes))


def places(changes: tuple[Change, ...]) -> dict[str, list[int]]:
    found, stage = defaultdict(list), "start"
    for place, change in enumerate(changes):
        named = STAGE.search(change.path)
        stage = named[1] if named else stage
        found[stage].append(place)
    return found


def is_resumed(storage: MortalStorage, calm: Calm) -> None:
    """Start a killed run again, and see that nothing tells it from the undisturbed one."""
    leased = any(path.startswith("pool/run/lease/") and path.endswith(".json") for path in storage.objects)
    record = start(calm.config)
    assert record["manifest_hash"] == calm.record["manifest_hash"]
    found = comparable(storage.objects)
    assert found.keys() == calm.objects.keys()
    assert [path for path, data in found.items() if data != calm.objects[path]] == []
    assert list(problems(calm.store)) == []
    if record["finished"] != calm.record["finished"]:
        told = [event["event"] for event in read_events(calm.store)]
        assert ("lease_taken_over" in told) == leased


@pytest.fixture(scope="module", autouse=True)
def untimed():
    """No event is put because time has passed: an undisturbed run makes the same changes however busy the machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("filtering.runtime.events.PUT_INTERVAL", float("inf"))
        yield


@pytest.fixture
def storage():
    return mortal_storage()


@pytest.fixture(scope="module")
def calm(tmp_path_factory) -> Calm:
    pool = write_metadata(tmp_path_factory.mktemp("small"), [60, 50])
    sections = {"concepts": {"clusters": 4, "partition_rows": 60}, "graph": {"k": 2}}
    return undisturbed(mortal_storage(), metadata_config(pool, "mortal://pool/run", **sections))


@pytest.mark.parametrize("stage", STAGES)
def test_a_run_killed_at_any_write_of_a_stage_ends_with_the_objects_of_an_undisturbed_one(storage, calm, stage):
    assert calm.places.keys() == set(STAGES)
    for place in some_of(calm.places[stage], 2):
        storage.kill(calm.before, calm.changes, place)
        if "pool/run/run.json" not in storage.objects:
            with pytest.raises(InputError, match="holds no finished run"):
                list(problems(calm.store))
        is_resumed(storage, calm)


@pytest.mark.parametrize("stage", STAGES)
def test_what_a_run_leaves_that_dies_is_what_it_had_written(storage, calm, stage):
    place = calm.places[stage][-1]
    with storage.dies_after(place):
        start(calm.config)
    left = comparable(storage.objects)
    storage.kill(calm.before, calm.changes, place)
    assert left == comparable(storage.objects)
    is_resumed(storage, calm)


@pytest.mark.parametrize("life", [25, 60])
def test_a_run_that_dies_again_and_again_comes_to_its_end(storage, calm, life):
    lives = 0
    while "pool/run/run.json" not in storage.objects:
        lives += 1
        with storage.dies_after(life):
            start(calm.config)
        assert lives < len(calm.changes)
    assert lives > 2
    is_resumed(storage, calm)
