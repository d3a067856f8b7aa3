"""A run over objects of which one is damaged or gone: the same command ends with the right manifest, and says why."""

import shutil
from collections import Counter
from pathlib import Path

import pytest
from damages import DAMAGES, STAGES, can_be_killed_after, choices_for, damage, kill_after, objects_of
from pools import Silent, Told, metadata_config, write_metadata
from sampling import some_of

from filtering.config.run import parse_config
from filtering.manifests.verify import problems
from filtering.pipeline import incremental
from filtering.runtime.run_record import read_run
from filtering.storage.store import Store

SMALL = {"concepts": {"clusters": 4, "partition_rows": 60}, "graph": {"k": 2}}
STEPS = [{"method": "semdedup", "epsilon": 0.2}, {"keep": 0.5}]


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
    return [(path, how) for path in objects_of(run) if can_be_killed_after(path) for how in DAMAGES]


def damaged(run, path, how):
    return damage(run, path, how, choices_for(0, path, how))


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


@pytest.mark.slow
def test_a_damaged_object_of_a_finished_run_is_made_again(finished):
    folder = finished[0]
    for path, how in some_of(cases(folder / "whole"), 9, step=211):
        run = fresh(folder)
        names = damaged(run, path, how)
        # A stage without its record is one that has not finished: there is nothing to tell.
        goes_on(finished, run, names if (run / path).exists() or not path.name.endswith(".stage.json") else ())


@pytest.mark.parametrize("base", [None, "latest"])
@pytest.mark.parametrize("how", ["halved", "flipped"])
def test_a_damaged_record_of_a_finished_run_is_made_again_and_told_once(tmp_path, how, base):
    write_metadata(tmp_path / "pool", [100, 60])
    config = parse_config(metadata_config(tmp_path / "pool", tmp_path / "run", base=base, **SMALL))
    whole, told = incremental.run(config, Silent()), Told()
    damaged(tmp_path / "run", Path("run.json"), how)
    assert incremental.run(config, told)["manifest_hash"] == whole["manifest_hash"]
    (line,) = (line for line in told.lines if "run.json" in line)
    assert line.startswith(f"{tmp_path}/run/run.json: ")
    assert line.endswith("; it is made again")
    assert list(problems(Store(str(tmp_path / "run")))) == []


def test_the_folder_of_a_finished_stage_is_listed_once_in_a_run(finished, monkeypatch):
    folder, config, _ = finished
    shutil.rmtree(folder / "run")
    shutil.copytree(folder / "whole", folder / "run")
    listed, sizes = Counter(), Store.sizes
    monkeypatch.setattr(Store, "sizes", lambda store: listed.update([store.url]) or sizes(store))
    incremental.run(config, Silent())
    assert {url.rpartition("/")[2].partition("-")[0] for url in listed} >= set(STAGES)
    assert set(listed.values()) == {1}


@pytest.mark.slow
def test_a_damaged_object_of_a_run_that_was_killed_is_made_again(finished):
    folder = finished[0]
    for path, how in some_of(cases(folder / "whole"), 9, step=211, start=70):
        run, choices = fresh(folder), choices_for(1, path, how)
        kill_after(run, path, choices)
        damage(run, path, how, choices)
        goes_on(finished, run, ())


@pytest.mark.slow
@pytest.mark.parametrize(
    "gone",
    [
        ["stages/partitions-*/*.stage.json", "stages/graph-*"],
        ["stages/partitions-*/*.stage.json", "stages/partitions-*/*.done", "stages/graph-*"],
        ["stages/graph-*/*.stage.json", "stages/graph-*/search-*.done"],
        ["stages/graph-*/*.stage.json", "stages/graph-*/*.done"],
    ],
    ids=["grouping begins to be forgotten", "its tasks are", "a search is", "the graph's tasks are"],
)
def test_rows_that_were_deleted_are_grouped_again_where_a_search_is_to_run(finished, gone):
    folder = finished[0]
    run, known = fresh(folder), read_run(Store(str(folder / "whole")))
    later = [f"stages/{stage}-*" for stage in STAGES[STAGES.index("graph") + 1 :]]
    for pattern in (*gone, *later, "manifest", "report", "run.json", "stages/final.json"):
        for path in run.glob(pattern):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    goes_on(finished, run, ["*.grouped"])
    found = read_run(Store(str(run)))
    assert (found["recall"], found["graph"]) == (known["recall"], known["graph"])


@pytest.mark.slow
def test_verify_finds_every_damage(finished):
    folder = finished[0]
    for path, how in some_of(cases(folder / "whole"), 40, step=41):
        run = fresh(folder)
        if damaged(run, path, how) and path.name != "final.json" and not path.name.startswith("consumed"):
            assert list(problems(Store(str(run)))) != [], (path, how)
