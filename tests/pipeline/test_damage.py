"""A run over objects of which one is damaged or gone: the same command ends with the right manifest, and says why."""

import random
import shutil
from collections import Counter

import pytest
from pools import Silent, metadata_config, write_metadata
from sampling import some_of

from filtering.config.run import parse_config
from filtering.manifests.verify import problems
from filtering.pipeline import incremental
from filtering.storage.store import Store

SMALL = {"concepts": {"clusters": 4, "partition_rows": 60}, "graph": {"k": 2}}
STEPS = [{"method": "semdedup", "epsilon": 0.2}, {"method": "d2", "keep": 0.5}]
STAGES = ("inventory", "embedding", "filters", "concepts", "partitions", "graph", "scores", "selection", "measures")
STAGES += ("manifests", "report")


def flipped(data: bytes) -> bytes:
    at = len(data) // 3
    return data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :] if data else b"x"


DAMAGES = {
    "zeroed": lambda data: bytes(len(data)),
    "halved": lambda data: data[: len(data) // 2],
    "flipped": flipped,
    "emptied": lambda data: b"",
    "deleted": None,
    "swapped": None,
}


class Told(Silent):
    def __init__(self):
        self.lines = []

    def say(self, line):
        self.lines.append(line)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run's folder that stays whole, where its copies are damaged, its configuration and its hash."""
    folder = tmp_path_factory.mktemp("damage")
    write_metadata(folder / "pool", [100, 60])
    config = metadata_config(folder / "pool", folder / "run", selection={"steps": STEPS}, **SMALL)
    record = incremental.run(parse_config(config), Silent())
    shutil.copytree(folder / "run", folder / "whole")
    return folder, parse_config(config), record["manifest_hash"]


def cases(run):
    """Every object that a run leaves, with every damage; of each stage some."""
    objects = sorted(path.relative_to(run) for path in run.rglob("*") if path.is_file())
    objects = [path for path in objects if path.parts[0] in ("stages", "manifest", "report")]
    return [(path, damage) for path in objects for damage in DAMAGES]


def damaged(run, path, damage):
    """Damage an object; return the names of those that are damaged then, none if it is as it was."""
    data = (run / path).read_bytes()
    if damage == "deleted":
        (run / path).unlink()
    elif damage == "swapped":
        others = [other for other in sorted((run / path).parent.glob(f"*{path.suffix}")) if other.read_bytes() != data]
        if not others:
            return ()
        (run / path).write_bytes(others[0].read_bytes())
        others[0].write_bytes(data)
        return path.name, others[0].name
    elif DAMAGES[damage](data) == data:
        return ()
    else:
        (run / path).write_bytes(DAMAGES[damage](data))
    return (path.name,)


def goes_on(finished, run, names):
    told = Told()
    record = incremental.run(finished[1], told)
    assert record["manifest_hash"] == finished[2]
    assert list(problems(Store(str(run)))) == []
    # The marks of what was deleted on purpose may go: what they explain is then made again.
    if names and not any("consumed" in name or name == "final.json" for name in names):
        assert any(name in line for line in told.lines for name in names), (names, told.lines)


def fresh(folder):
    shutil.rmtree(folder / "run")
    shutil.copytree(folder / "whole", folder / "run")
    return folder / "run"


def test_a_damaged_object_of_a_finished_run_is_made_again(finished):
    folder = finished[0]
    for path, damage in some_of(cases(folder / "whole"), 9, step=150):
        run = fresh(folder)
        goes_on(finished, run, damaged(run, path, damage))


def test_the_folder_of_a_finished_stage_is_listed_once_in_a_run(finished, monkeypatch):
    folder, config, _ = finished
    shutil.rmtree(folder / "run")
    shutil.copytree(folder / "whole", folder / "run")
    listed, sizes = Counter(), Store.sizes
    monkeypatch.setattr(Store, "sizes", lambda store: listed.update([store.url]) or sizes(store))
    incremental.run(config, Silent())
    assert {url.rpartition("/")[2].partition("-")[0] for url in listed} >= set(STAGES)
    assert set(listed.values()) == {1}


def test_a_damaged_object_of_a_run_that_was_killed_is_made_again(finished):
    folder, places = finished[0], random.Random(1)
    inside = [case for case in cases(folder / "whole") if case[0].parts[0] == "stages" and len(case[0].parts) > 2]
    for path, damage in some_of(inside, 9, step=150, start=70):
        run = fresh(folder)
        # What a kill leaves in a later stage, or in this one.
        later = STAGES.index(path.parts[1].partition("-")[0]) + 1
        for stage in STAGES[places.randint(later, len(STAGES)) :]:
            for left in run.glob(f"stages/{stage}-*"):
                shutil.rmtree(left)
        for left in ("manifest", "report"):
            shutil.rmtree(run / left)
        for left in ("run.json", "stages/final.json"):
            (run / left).unlink()
        if places.random() < 0.5:
            for record in (run / path).parent.glob("*.stage.json"):
                record.unlink()
        if (run / path).exists():
            damaged(run, path, damage)
        goes_on(finished, run, ())


def test_verify_finds_every_damage(finished):
    folder = finished[0]
    for path, damage in some_of(cases(folder / "whole"), 40, step=25):
        run = fresh(folder)
        if damaged(run, path, damage) and path.name != "final.json" and not path.name.startswith("consumed"):
            assert list(problems(Store(str(run)))) != [], (path, damage)
