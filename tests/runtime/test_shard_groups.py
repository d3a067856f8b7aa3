"""Many small shards: worked through several at a time, with a result for each."""

import itertools
import sys
from collections import Counter
from dataclasses import dataclass

import numpy as np
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from pools import Silent, metadata_config, write_metadata
from ray import cloudpickle

from filtering.config.run import Ray
from filtering.runtime import shard_groups
from filtering.runtime.engine import RayExecutor
from filtering.runtime.events import EventLog, read_events
from filtering.runtime.in_process import InProcessExecutor
from filtering.runtime.shard_groups import group_identity, packed_together, sent_names, spans
from filtering.runtime.shuffle import packed, read_groups, write_groups
from filtering.runtime.stage import Runtime, StageKey, StageRun, leased
from filtering.storage import store as storage
from filtering.storage.store import MARKER, Store, digest

RECORD = np.dtype([("value", "<i4")])
SMALL = 10


@dataclass(frozen=True)
class Piece:
    """A shard."""

    identity: str
    bytes: int = SMALL


def pieces(count: int) -> list[Piece]:
    return [Piece(digest(number)) for number in range(count)]


def send(piece: Piece, store: Store) -> dict[str, str]:
    """Send a shard's only record, write an object of its own, and return its name."""
    value = np.array([int(piece.identity, 16) % 1000], "<i4")
    write_groups(store, f"{piece.identity}.sent", value % 3, RECORD, packed(RECORD, value=value).__getitem__)
    store.write_record(f"{piece.identity}.own", {"times": 1})
    return {"name": piece.identity}


def fail_on(piece: Piece, last: str, store: Store) -> dict[str, str]:
    assert piece.identity != last
    return send(piece, store)


@pytest.fixture(params=["in process", pytest.param("ray", marks=pytest.mark.ray)])
def executor(request):
    if request.param == "in process":
        return InProcessExecutor()
    request.getfixturevalue("cluster")
    # Workers cannot import this module.
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    request.addfinalizer(lambda: cloudpickle.unregister_pickle_by_value(sys.modules[__name__]))
    return RayExecutor(Ray())


@pytest.fixture
def stage_of(tmp_path):
    """Start a stage, as each attempt at a run does; its folder is that of the first."""
    store = Store(str(tmp_path))
    with leased(store, Silent()) as lease:

        def start(per_shard=False, executor=None):
            events = EventLog(store, lease.check)
            runtime = Runtime(store, executor or InProcessExecutor(), events, Silent(), lease)
            return StageRun(runtime, StageKey("stage", 1, None, per_shard=per_shard))

        yield start


@pytest.fixture
def together(monkeypatch):
    """At most four tasks a stage, unless a shard is large."""
    monkeypatch.setattr(shard_groups, "MOST_TASKS", 4)


def sent(stage: StageRun, shards: list[Piece]) -> list[dict[str, str]]:
    return stage.over_shards("send", "shards", shards, send, stage.store)


def markers(stage: StageRun) -> list[str]:
    return stage.store.names(MARKER)


@examples(1)
@given(st.lists(st.sampled_from([0, 1, 1 << 20, 40 << 20, 1 << 40]), max_size=60), st.integers(1, 9))
def test_shards_that_go_together_follow_one_another_and_are_small(sizes, most):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shard_groups, "MOST_TASKS", most)
        found = spans(sizes)
    assert [size for span in found for size in sizes[span]] == sizes
    together = [sizes[span] for span in found if span.stop - span.start > 1]
    assert all(sum(group) <= shard_groups.GROUP_BYTES for group in together)
    if sum(sizes) <= shard_groups.GROUP_BYTES:
        assert len(found) <= most


@examples(1)
@given(st.lists(st.lists(st.integers(0, 4), max_size=5), min_size=1, max_size=12), st.data())
def test_what_shards_send_is_read_in_their_order_however_they_are_put_together(tmp_path_factory, groups, data):
    store = Store(str(tmp_path_factory.mktemp("sent")))
    values = [np.arange(len(one), dtype="<i4") + 100 * at for at, one in enumerate(groups)]
    names = [f"{at:04d}" for at in range(len(groups))]
    cuts = sorted(data.draw(st.sets(st.integers(1, len(groups)))) | {0, len(groups)})

    def write(at, folder):
        group = np.array(groups[at], dtype=np.int32)
        write_groups(folder, f"{names[at]}.sent", group, RECORD, packed(RECORD, value=values[at]).__getitem__)

    alone, whole, packs = store.child("alone"), store.child("whole"), []
    for at in range(len(groups)):
        write(at, alone)
    for start, end in itertools.pairwise(cuts):
        with packed_together(group_identity(names[start:end])) as open_packs:
            for at in range(start, end):
                open_packs.member = names[at]
                write(at, whole)
        packs.append(f"{group_identity(names[start:end])}.sent")
    assert sorted(packs) == whole.names()
    for group in range(5):
        one = read_groups(alone, [f"{name}.sent" for name in names], group)
        other = read_groups(whole, packs, group)
        assert (one is None and other is None) or one.tolist() == other.tolist()


def test_many_shards_have_few_markers_and_a_result_each(together, stage_of, executor):
    shards, stage = pieces(10), stage_of(executor=executor)
    assert [one["name"] for one in sent(stage, shards)] == [shard.identity for shard in shards]
    assert len(markers(stage)) == 4
    names = sent_names("{}.sent".format, shards)
    assert sorted(names) == stage.store.names(".sent")
    values = [read_groups(stage.store, names, group) for group in range(3)]
    expected = sorted(int(shard.identity, 16) % 1000 for shard in shards)
    assert sorted(value for found in values if found is not None for value in found["value"].tolist()) == expected
    again = stage_of()
    assert sent(again, shards) == sent(stage, shards)
    assert again.resumed


def test_a_large_shard_has_a_task_of_its_own(together, stage_of):
    shards, stage = pieces(10), stage_of()
    shards[4] = Piece(shards[4].identity, 1 << 40)
    sent(stage, shards)
    assert f"send-{shards[4].identity}{MARKER}" in markers(stage)


def test_a_task_that_dies_in_the_middle_costs_its_own_shards(together, stage_of):
    shards, stage = pieces(8), stage_of()
    with pytest.raises(Exception, match="AssertionError"):
        stage.over_shards("send", "shards", shards, fail_on, shards[5].identity, stage.store)
    assert len(markers(stage)) == 2
    again = stage_of()
    assert len(again.over_shards("send", "shards", shards, fail_on, "", stage.store)) == 8
    assert len(markers(stage)) == 4


@pytest.mark.parametrize("damage", ["record", "object", "pack"])
def test_damage_costs_the_shards_of_one_task(together, stage_of, damage):
    shards, stage = pieces(8), stage_of()
    before = sent(stage, shards)
    store = stage.store
    for shard in shards:
        store.write_record(f"{shard.identity}.own", {"times": 2})
    name = {"record": markers(stage)[0], "object": f"{shards[2].identity}.own", "pack": store.names(".sent")[0]}[damage]
    if damage == "record":
        store.write(name, store.read(name).replace(b"result", b"resulk"))
    else:
        store.delete(name)
    assert sent(stage_of(), shards) == before
    assert sorted(store.read_record(f"{shard.identity}.own")["times"] for shard in shards) == [1, 1] + [2] * 6


def test_a_pool_that_has_grown_runs_its_new_shards_alone(together, stage_of):
    shards, stage = pieces(13), stage_of(per_shard=True)

    def run(some):
        found = stage_of(per_shard=True).over_shards("", "shards", some, send, stage.store)
        assert [one["name"] for one in found] == [shard.identity for shard in some]

    # Alone, as an older version would have done them, then with others, then without some of either.
    run(shards[:3])
    run(shards[:9])
    for shard in shards:
        stage.store.write_record(f"{shard.identity}.own", {"times": 2})
    run(shards[1:])
    again = [shard for shard in shards if stage.store.read_record(f"{shard.identity}.own")["times"] == 1]
    assert again == shards[9:]


@pytest.fixture
def counts(monkeypatch):
    """What is asked of the disk from now on, by kind."""
    found = Counter[str]()

    def counted(kind, real):
        def call(*arguments):
            found[kind] += 1
            return real(*arguments)

        return call

    monkeypatch.setattr(storage, "read_object", counted("read", storage.read_object))
    monkeypatch.setattr(storage, "write_object", counted("write", storage.write_object))
    monkeypatch.setattr(Store, "sizes", counted("list", Store.sizes))
    return found


def numbered(piece: Piece, number: int) -> int:
    return number


def test_a_stage_over_many_shards_makes_few_requests_beside_their_own(stage_of, counts):
    shards = pieces(3 * shard_groups.MOST_TASKS)
    for kind in ("write", "read"):
        stage = stage_of()
        counts.clear()
        assert stage.over_shards("", "shards", shards, numbered, 1) == [1] * len(shards)
        # The lease is looked at now and then.
        assert 0 <= counts[kind] - shard_groups.MOST_TASKS < 10
        assert counts["list"] == 1
    assert counts["write"] == 0


def test_the_manifest_is_the_same_however_shards_are_put_together(run, tmp_path, monkeypatch):
    pool = write_metadata(tmp_path / "pool", [30, 0, 25, 31, 12, 28, 3, 40])
    ranks = {"combine": {"by": "rank", "of": [{"score": "clip_score"}, {"score": "sds"}]}}
    sections = {
        "filters": [{"clip_score": {"keep": 0.8}}],
        "concepts": {"clusters": 6, "partition_rows": 60},
        "selection": {"variant": "paper", "score": ranks, "keep": 0.4},
    }
    alone = run(metadata_config(pool, tmp_path / "alone", **sections))
    monkeypatch.setattr(shard_groups, "MOST_TASKS", 3)
    whole = run(metadata_config(pool, tmp_path / "whole", **sections))
    assert whole["manifest_hash"] == alone["manifest_hash"]
    told = [event for event in read_events(Store(str(tmp_path / "whole"))) if event.get("unit") == "shards"]
    assert {event["total"] for event in told} == {8}
    assert max(event["done"] for event in told) == 8
