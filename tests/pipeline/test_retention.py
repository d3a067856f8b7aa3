import os
import random
import uuid

import numpy as np
import pytest
from examples import examples
from finished_runs import run_record
from hypothesis import given
from hypothesis import strategies as st
from pools import Silent, metadata_config

from filtering.config.run import parse_config
from filtering.core.errors import InputError
from filtering.embedding.locations import ShardLocation, write_locations
from filtering.graph.artifacts import PART_NAMES, Origins, write_origins
from filtering.pipeline import incremental
from filtering.pipeline.increment_record import RECORD, RETIRED
from filtering.pipeline.retention import retire
from filtering.shards.inventory import write_inventory
from filtering.storage.store import Store

OBJECTS = {
    "inventory": f"stages/inventory-{16 * '1'}",
    "embedding": f"stages/embedding-{16 * '1'}",
    "graph": f"stages/graph-{16 * '1'}",
    "selection": f"stages/selection-{16 * '1'}",
}


@pytest.fixture(params=["disk", "s3"])
def root(request, tmp_path):
    if request.param == "disk":
        return Store(str(tmp_path / "nights"))
    request.getfixturevalue("proxy")
    return Store(f"s3://{request.getfixturevalue('s3').bucket}/{uuid.uuid4().hex}")


def write_night(root, name, started, embedded=(), parts=(), verified=True, base=None):
    """Write a made-up night.

    Parameters
    ----------
    embedded : of (night, identity): where the rows of its shards are; its own are written.
    parts : night names: where each partition's part of its graph is; its own are written.
    """
    folder = root.child(name)
    folder.write_json(RECORD, {"base": base, "started": started, "verified": verified})
    embedding, graph = (folder.child(OBJECTS[stage]) for stage in ("embedding", "graph"))
    for night, identity in embedded:
        if night == name:
            for suffix in ("rows.parquet", "quarantined.parquet", "image.npy"):
                embedding.write(f"{identity}.{suffix}", f"{name} {identity} {suffix}".encode())
    for number, night in enumerate(parts):
        if night == name:
            for part in PART_NAMES:
                graph.write(part.format(number), f"{name} {number} {part}".encode())
    folder.write(f"{OBJECTS['selection']}/00000000.picks", b"picks")
    folder.write("report/index.html", b"page")
    if not verified:
        return
    folders = {identity: root.child(night).child(OBJECTS["embedding"]) for night, identity in embedded}
    where = {identity: ShardLocation(store, 1, 1, 0) for identity, store in folders.items()}
    write_locations(embedding, "f", where)
    write_inventory(folder.child(OBJECTS["inventory"]), [])
    others = sorted(set(parts) - {name})
    if others:
        run_of = np.array([others.index(night) if night in others else -1 for night in parts], dtype=np.int32)
        graphs = tuple(root.child(night).child(OBJECTS["graph"]) for night in others)
        write_origins(graph, Origins(graphs, run_of, tuple(np.zeros(0, np.int64) for _ in others)))
    folder.write_json("run.json", run_record(objects=OBJECTS, stages=[{"name": "embedding", "fingerprint": "f"}]))


def contents(root, name):
    """Every object of a night, by its name in the folder."""
    found = {}

    def collect(folder, prefix):
        for entry in folder.names():
            if "." in entry:
                found[prefix + entry] = folder.read(entry)
            else:
                collect(folder.child(entry), f"{prefix}{entry}/")

    collect(root.child(name), "")
    return found


def needed_of(name, embedded, parts):
    """The objects of a night that a night with these shards and partitions reads there."""
    shards = {
        f"{OBJECTS['embedding']}/{identity}.{suffix}"
        for night, identity in embedded
        if night == name
        for suffix in ("rows.parquet", "quarantined.parquet", "image.npy")
    }
    return shards | {
        f"{OBJECTS['graph']}/{part.format(number)}"
        for number, night in enumerate(parts)
        if night == name
        for part in PART_NAMES
    }


def silent(line):
    pass


@pytest.mark.slow
def test_old_nights_go_but_for_what_the_others_refer_to(root):
    write_night(root, "n1", 1, [("n1", "aa"), ("n1", "bb")], ["n1", "n1", "n1"])
    write_night(root, "n2", 2, [("n1", "aa"), ("n2", "cc")], ["n1", "n2", "n1"])
    write_night(root, "n3", 3, [("n1", "aa"), ("n2", "cc"), ("n3", "dd")], ["n1", "n2", "n3"])
    before = {name: contents(root, name) for name in ("n1", "n2", "n3")}
    said = []
    assert sorted(retire(root, 1, "n3", said.append)) == ["n1", "n2"]
    assert said == ["deleted 2 older runs: n1, n2"]
    assert contents(root, "n3") == before["n3"]
    for name in ("n1", "n2"):
        left = contents(root, name)
        assert left.keys() == needed_of(name, [("n1", "aa"), ("n2", "cc")], ["n1", "n2", "n3"]) | {RETIRED}
        assert all(before[name][key] == data for key, data in left.items() if key != RETIRED)


@pytest.mark.slow
def test_the_newest_nights_stay(root):
    for number in range(1, 6):
        write_night(root, f"n{number}", number, [(f"n{number}", "aa")], [f"n{number}"])
    said = []
    assert retire(root, 5, "n5", said.append) == retire(root, 9, None, said.append) == said == []
    assert sorted(retire(root, 2, "n5", said.append)) == ["n1", "n2", "n3"]
    assert root.names() == ["n4", "n5"]
    assert retire(root, 2, "n5", said.append) == []
    assert retire(root, 1, "n5", said.append) == ["n4"]
    assert said == ["deleted 3 older runs: n1, n2, n3", "deleted 1 older run: n4"]


def test_the_latest_night_stays_although_others_began_after_it(root):
    for number in range(1, 5):
        write_night(root, f"n{number}", number)
    assert retire(root, 1, "n2", silent) == ["n3", "n1"]
    assert root.names() == ["n2", "n4"]


@pytest.mark.slow
def test_a_stub_goes_once_nothing_refers_to_it(root):
    write_night(root, "n1", 1, [("n1", "aa")], ["n1"])
    write_night(root, "n2", 2, [("n1", "aa")], ["n2"])
    assert retire(root, 1, "n2", silent) == ["n1"]
    stub = contents(root, "n1")
    assert stub.keys() == needed_of("n1", [("n1", "aa")], []) | {RETIRED}
    write_night(root, "n3", 3, [("n1", "aa")], ["n3"])
    assert retire(root, 1, "n3", silent) == ["n2"]
    assert root.names() == ["n1", "n3"]
    assert contents(root, "n1") == stub
    write_night(root, "n4", 4, [("n4", "aa")], ["n4"])
    assert retire(root, 1, "n4", silent) == ["n3"]
    assert root.names() == ["n4"]


@pytest.mark.slow
def test_a_name_that_begins_another_is_not_taken_for_it(root):
    write_night(root, "n1", 1, [("n1", "a"), ("n1", "ab")], ["n1"] * 2)
    write_night(root, "n10", 2, [("n10", "a"), ("n10", "ab")], ["n10"] * 2)
    write_night(root, "n100", 3, [("n10", "a"), ("n100", "b")], ["n10", "n100"])
    root.write("n1.txt", b"beside")
    before = contents(root, "n100")
    assert sorted(retire(root, 1, "n100", silent)) == ["n1", "n10"]
    assert root.names() == ["n1.txt", "n10", "n100"]
    # Neither is a shard whose identity begins another's.
    assert contents(root, "n10").keys() == needed_of("n10", [("n10", "a")], ["n10", "n100"]) | {RETIRED}
    assert contents(root, "n100") == before
    write_night(root, "n2", 4)
    assert sorted(retire(root, 1, "n2", silent)) == ["n100"]
    assert root.names() == ["n1.txt", "n2"]


def test_what_is_no_nights_is_left_alone(root):
    root.write_json("latest.json", {"run": "n2"})
    root.write("_lease/1.json", b"lease")
    root.child("plain").write_json("run.json", {"objects": {}})
    root.write("notes/night.txt", b"text")
    root.write(f"deep/down/{RECORD}", b"no night of this root")
    for number in (1, 2):
        write_night(root, f"n{number}", number)
    names = root.names()
    assert retire(root, 1, "n2", silent) == ["n1"]
    assert root.names() == [name for name in names if name != "n1"]
    assert root.read("_lease/1.json") == b"lease"
    assert root.child("plain").names() == ["run.json"]
    assert root.exists("notes/night.txt")
    assert root.exists(f"deep/down/{RECORD}")


@pytest.mark.slow
def test_an_unfinished_night_stays_while_no_older_one_does(root):
    write_night(root, "old", 1, verified=False)
    write_night(root, "n1", 2)
    write_night(root, "killed", 3, [("killed", "aa")], verified=False)
    write_night(root, "n2", 4)
    write_night(root, "running", 5, verified=False)
    before = contents(root, "killed")
    assert retire(root, 2, "n2", silent) == ["old"]
    assert contents(root, "killed") == before
    assert sorted(retire(root, 1, "n2", silent)) == ["killed", "n1"]
    assert root.names() == ["n2", "running"]


def test_without_a_verified_night_nothing_goes(root):
    write_night(root, "n1", 1, verified=False)
    write_night(root, "n2", 2, verified=False)
    assert retire(root, 1, None, silent) == []
    assert root.names() == ["n1", "n2"]


class Killed(BaseException):
    pass


@pytest.mark.parametrize("after", range(0, 21, 2))
def test_what_was_killed_in_the_middle_is_done_when_it_is_called_again(tmp_path, monkeypatch, after):
    root, embedded, parts = Store(str(tmp_path)), [("n1", "aa"), ("n2", "bb")], ["n1", "n2"]
    write_night(root, "n1", 1, [("n1", "aa"), ("n1", "xx")], ["n1", "n1"])
    write_night(root, "n2", 2, embedded, parts)
    write_night(root, "n3", 3, [*embedded, ("n3", "cc")], [*parts, "n3"])
    write_night(root, "n0", 0)
    before = {name: contents(root, name) for name in ("n1", "n2", "n3")}
    remove, left = os.remove, [after]

    def killing(path, **options):
        if left[0] == 0:
            raise Killed
        left[0] -= 1
        remove(path, **options)

    with monkeypatch.context() as patched:
        patched.setattr(os, "remove", killing)
        with pytest.raises(Killed):
            retire(root, 1, "n3", silent)
    assert contents(root, "n3") == before["n3"]
    retire(root, 1, "n3", silent)
    assert root.names() == ["n1", "n2", "n3"]
    assert contents(root, "n3") == before["n3"]
    for name in ("n1", "n2"):
        stub = contents(root, name)
        assert stub.keys() == needed_of(name, embedded, parts) | {RETIRED}
        assert all(before[name][key] == data for key, data in stub.items() if key != RETIRED)
    assert retire(root, 1, "n3", silent) == []


@pytest.mark.slow
def test_a_night_whose_deletion_has_begun_is_no_run_any_more(root, monkeypatch):
    for number in (1, 2):
        write_night(root, f"n{number}", number)

    def killed(*arguments):
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(Store, "delete_but", killed)
        with pytest.raises(Killed):
            retire(root, 1, "n2", silent)
    assert root.exists("n1/report/index.html")
    assert not root.exists("n1/run.json")
    # It is not counted among the nights that stay, even if there is room.
    assert retire(root, 2, "n2", silent) == []
    assert root.names() == ["n2"]


@pytest.mark.slow
def test_an_s3_that_answers_with_errors_now_and_then_loses_nothing_and_keeps_nothing(proxy, s3):
    root = Store(f"s3://{s3.bucket}/{uuid.uuid4().hex}")
    write_night(root, "n1", 1, [("n1", f"{at:02x}") for at in range(20)], ["n1"] * 5)
    write_night(root, "n2", 2, [("n1", "00"), ("n2", "ff")], ["n1", "n2"])
    before = contents(root, "n2")
    proxy.set(error_rate=0.2, cut_rate=0.1, seed=5)
    assert retire(root, 1, "n2", silent) == ["n1"]
    proxy.set()
    assert contents(root, "n2") == before
    assert contents(root, "n1").keys() == needed_of("n1", [("n1", "00")], ["n1", "n2"]) | {RETIRED}


@pytest.mark.parametrize("spelling", ["//nights", "/./nights", "/link"])
def test_a_root_may_be_spelled_in_more_than_one_way(tmp_path, spelling):
    root = Store(str(tmp_path / "nights"))
    (tmp_path / "nights").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "nights")
    other = Store(str(tmp_path) + spelling)
    for first, second in ((root, other), (other, root)):
        write_night(first, "n1", 1, [("n1", "aa")], ["n1"])
        write_night(first, "n2", 2, [("n1", "aa")], ["n1"])
        assert retire(second, 1, "n2", silent) == ["n1"]
        assert contents(root, "n1").keys() == needed_of("n1", [("n1", "aa")], ["n1"]) | {RETIRED}
        for name in root.names():
            root.delete_folder(name)


def test_what_is_left_of_a_retired_night_takes_no_new_one(tmp_path, metadata_pool):
    root = Store(str(tmp_path / "nights"))
    write_night(root, "n1", 1, [("n1", "aa")])
    write_night(root, "n2", 2, [("n1", "aa")])
    retire(root, 1, "n2", silent)
    stub = contents(root, "n1")
    config = parse_config(metadata_config(metadata_pool, root.path("n1"), base="latest"))
    # It would be taken for retired, and deleted, once another night is the latest.
    with pytest.raises(InputError, match="of a deleted run"):
        incremental.run(config, Silent())
    assert contents(root, "n1") == stub


@examples(0.3)
@given(st.integers(0, 2**32 - 1), st.integers(1, 3))
def test_whatever_nights_stay_find_all_they_refer_to(tmp_path_factory, seed, most):
    draw = random.Random(seed)
    root = Store(str(tmp_path_factory.mktemp("nights")))
    embedded, parts, written, stay = {}, [], {}, []
    for number in range(1, 7):
        name = f"n{number}"
        # Some shards go, some are new; some partitions are built again, the others lie where they lay.
        embedded = {identity: night for identity, night in embedded.items() if draw.random() < 0.8}
        embedded |= {f"{draw.randrange(8):x}{number}": name for _ in range(draw.randrange(3))}
        parts = [night if draw.random() < 0.6 else name for night in parts] + [name] * draw.randrange(2)
        places = [(night, identity) for identity, night in embedded.items()]
        write_night(root, name, number, places, parts)
        written[name] = (places, list(parts), contents(root, name))
        if draw.random() < 0.7:
            stay = [*stay, name][-most:]
        else:
            stay.append(name)
            continue
        retire(root, most, name, silent)
        assert set(root.names()) >= set(stay)
        for one in root.names():
            if one in stay:
                assert contents(root, one) == written[one][2]
                continue
            needed = set().union(*(needed_of(one, *written[night][:2]) for night in stay))
            left = contents(root, one)
            assert left.keys() == needed | {RETIRED}
            assert all(written[one][2][key] == data for key, data in left.items() if key != RETIRED)
        for night in stay:
            for other in written:
                assert other in root.names() or not needed_of(other, *written[night][:2])


def test_the_base_of_a_night_that_may_be_taken_up_stays(tmp_path):
    root = Store(str(tmp_path))
    for name, started in (("1", 1), ("2", 2), ("4", 4)):
        write_night(root, name, started, [(name, f"{name * 16}")])
    write_night(root, "5", 5, verified=False, base=root.path("2"))
    assert retire(root, 1, "4", print) == ["1"]
    assert root.child("2").exists("run.json")
    write_night(root, "6", 6, [("6", "6" * 16)])
    assert sorted(retire(root, 1, "6", print)) == ["2", "4", "5"]


def test_what_no_run_wrote_stays_in_a_retired_night(root):
    for number in (1, 2):
        write_night(root, f"n{number}", number)
    for name in ("n1/notes.txt", "n1/manifest/mine.txt", "n1/stages/draft/x.npz"):
        root.write(name, b"mine")
    assert retire(root, 1, "n2", silent) == ["n1"]
    assert contents(root, "n1").keys() == {"notes.txt", "manifest/mine.txt", "stages/draft/x.npz", RETIRED}
    assert retire(root, 1, "n2", silent) == []
    assert contents(root, "n1").keys() == {"notes.txt", "manifest/mine.txt", "stages/draft/x.npz", RETIRED}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "record"),
    [
        (RETIRED, {"name": "other"}),
        (RETIRED, {}),
        (RECORD, {"owner": "me"}),
        (RECORD, {"base": None, "started": 0.5, "verified": True, "name": "n1"}),
    ],
    ids=["another note", "a file of that name", "no record", "a copy of a night"],
)
def test_folders_of_others_are_no_nights(root, name, record):
    for number in (1, 2):
        write_night(root, f"n{number}", number)
    other = root.child("backup")
    other.write_json(name, record)
    other.write("report/index.html", b"page")
    assert retire(root, 1, "n2", silent) == ["n1"]
    assert contents(root, "backup").keys() == {name, "report/index.html"}
