"""The corruption matrix: a few trials of each kind of pool, what counts as wrong, and the table."""

import signal
from collections.abc import Iterator

import pytest

from benchmarks.robustness.corruption import __main__ as corruption
from benchmarks.robustness.corruption import bench as benches
from benchmarks.robustness.corruption.bench import Bench, Case, Trial
from filtering.core.errors import InputError


@pytest.fixture(autouse=True)
def signals() -> Iterator[None]:
    """The benchmark answers SIGTERM by itself."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture(scope="module")
def bench(tmp_path_factory) -> Bench:
    return Bench(tmp_path_factory.mktemp("corruption"), "metadata", 0)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "state"), [("metadata", ()), ("tars", ("--killed",))])
def test_a_part_of_the_matrix_is_healed(measured, kind, state):
    options = ("--kind", kind, "--share", 0.1, "--stages", "inventory", "manifest/", *state)
    trials, printed = measured(corruption.main, *options)
    assert {trial["outcome"] for trial in trials} <= {"healed", "no damage"}
    assert any(trial["outcome"] == "healed" for trial in trials)
    assert {trial["killed"] for trial in trials} == {bool(state)}
    head, *_, total, unseen, _ = printed.splitlines()
    assert head.split()[:3] == ["stage", "trials", "healed"]
    assert int(total.split()[1]) == sum(trial["outcome"] == "healed" for trial in trials)
    assert unseen == "verify is blind to: nothing"


def test_every_object_of_a_run_and_of_its_pool_is_damaged_in_every_way(bench):
    finished, killed = bench.cases(False), bench.cases(True)
    assert len(finished) == len(set(finished)) > 1000
    assert {case.damage for case in finished} == {"zeroed", "halved", "flipped", "swapped", "emptied", "deleted"}
    stages = {case.stage for case in finished}
    assert stages >= {"graph", "report", "manifest/", "report/", "run.json", "events.jsonl", "final.json", "input"}
    assert stages - {case.stage for case in killed} == {"run.json", "events.jsonl", "lease/"}


@pytest.mark.slow
@pytest.mark.parametrize(("damage", "killed"), [("swapped", False), ("emptied", True)])
def test_damage_to_the_pool_ends_as_a_fresh_run_over_it(bench, damage, killed):
    path = next(case.path for case in bench.cases(False) if case.of == "pool" and case.path.suffix == ".parquet")
    before = (bench.pool / path).read_bytes()
    assert bench.trial(Case("pool", path, damage, killed)).outcome == "as a fresh run"
    assert (bench.pool / path).read_bytes() == before


@pytest.mark.parametrize(
    ("line", "outcome"), [("input: {} is a folder", "refused"), ("input: has no shards", "names no object")]
)
def test_a_refusal_has_to_name_the_file(bench, monkeypatch, line, outcome):
    case = next(case for case in bench.cases(False) if case.of == "pool")

    def refuses(config, told):
        raise InputError(line.format(case.path))

    monkeypatch.setattr(benches, "run", refuses)
    trial = bench.trial(case)
    assert (trial.outcome, trial.bad) == (outcome, outcome != "refused")


def test_a_command_that_ends_otherwise_is_seen(bench, monkeypatch):
    case = next(case for case in bench.cases(False) if case.path.name == "shards.jsonl" and case.damage == "emptied")

    def fails(config, told):
        raise KeyError("kept")

    monkeypatch.setattr(benches, "run", fails)
    trial = bench.trial(case)
    assert (trial.outcome, trial.detail, trial.bad) == ("raw error", "KeyError: 'kept'", True)
    monkeypatch.setattr(benches, "run", lambda config, told: bench.record | {"manifest_hash": "0"})
    trial = bench.trial(case)
    assert (trial.outcome, trial.detail, trial.bad) == ("wrong manifest", "manifest_hash 0", True)
    # As if all were well.
    monkeypatch.setattr(benches, "run", lambda config, told: bench.record)
    trial = bench.trial(case)
    assert (trial.outcome, trial.detail, trial.bad) == ("wrong manifest", "shards.jsonl", True)


def test_what_verify_does_not_see_is_wrong_unless_it_is_known():
    seen = {"outcome": "healed", "verified": "found"}
    blind = {"outcome": "healed", "verified": "blind"}
    assert not Trial("graph", "stages/graph-0/a.npz", "zeroed", False, **seen).bad
    assert Trial("graph", "stages/graph-0/a.npz", "zeroed", False, **blind).bad
    assert not Trial("graph", "stages/graph-0/consumed-all.found.mark", "emptied", False, **blind).bad
    assert not Trial("events.jsonl", "events.jsonl", "emptied", False, **blind).bad
    assert Trial("graph", "stages/graph-0/a.npz", "zeroed", False, "refused").bad
    assert not Trial("input", "a.parquet", "zeroed", False, "refused").bad


def test_the_table_has_a_row_for_each_stage_and_lists_what_is_not_seen():
    trials = [
        Trial("graph", f"stages/graph-{'0' * 16}/00000001.npz", "zeroed", False, "healed", "", "found"),
        Trial("graph", "a", "halved", False, "raw error", "KeyError: 'x'", "found"),
        Trial("graph", "b", "swapped", False, "no damage"),
        Trial("events.jsonl", "events.jsonl", "deleted", False, "healed", "", "blind", told=False),
        Trial("events.jsonl", "events.jsonl", "zeroed", False, "healed", "", "blind", told=False),
    ]
    graph, events, total = corruption.rows(trials)
    assert graph == {
        "stage": "graph",
        "trials": 2,
        "healed": 1,
        "raw error": 1,
        "not said": 0,
        "verify is blind": 0,
    }
    assert (events["trials"], events["verify is blind"], total["trials"], total["healed"]) == (2, 2, 4, 3)
    assert corruption.lists(trials) == [
        "a halved: raw error; KeyError: 'x'",
        "verify is blind to: events.jsonl (zeroed, deleted)",
        "not said, though healed: events.jsonl (zeroed, deleted)",
    ]
