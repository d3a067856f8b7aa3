import pytest
from clocks import Time
from pools import Silent

from filtering.runtime.events import EventLog, read_events
from filtering.runtime.progress import LineReporter
from filtering.runtime.stage_progress import StageProgress
from filtering.runtime.task_spec import task
from filtering.storage.store import Store

RECORD = {
    "result": {"samples": 10, "rows": 8, "quarantined": 2, "quarantine_reasons": {"missing_caption": 2}},
    "seconds": 1.0,
    "retries": 3,
    "read_bytes": 100,
    "written_bytes": 10,
    "peak_memory_bytes": 0,
}
BARE = {"result": None, "seconds": 10.0, "retries": 0, "read_bytes": 0, "written_bytes": 0, "peak_memory_bytes": 0}


@pytest.fixture
def store(tmp_path):
    return Store(str(tmp_path))


def tally(store, total):
    return StageProgress("embedding", total, "shards", EventLog(store), Silent())


def told(store):
    return [event for event in read_events(store) if event["event"] == "progress"]


def test_events_sum_up_what_was_done(store):
    sums = tally(store, 3)
    sums.resumed([RECORD])
    sums.finished(task("a", dict), RECORD)
    sums.finished(task("b", dict), RECORD)
    last = told(store)[-1]
    assert (last["done"], last["total"], last["resumed_tasks"], last["resumed_samples"]) == (3, 3, 1, 10)
    assert (last["samples"], last["quarantined"], last["retries"], last["read_bytes"]) == (30, 6, 9, 300)
    assert last["quarantine_reasons"] == {"missing_caption": 6}


def test_many_tasks_make_few_events(store):
    at = Time()
    sums = StageProgress("embedding", 10_000, "shards", EventLog(store), Silent(), clock=at.clock())
    for number in range(10_000):
        at.sleep(0.001)
        sums.finished(task(str(number), dict), RECORD)
    assert len(told(store)) < 20
    assert told(store)[-1]["done"] == 10_000


def test_a_repeated_task_is_recorded_with_its_cause(store):
    sums = tally(store, 1)
    sums.retried(task("a", dict), "worker died")
    event, progress = read_events(store)
    assert progress["lost_tasks"] == 1
    assert (event["event"], event["task"], event["cause"]) == ("task_retried", "a", "worker died")
    assert "1 task repeated" in sums.note()


def test_results_of_any_shape_are_taken(store):
    sums = tally(store, 3)
    for result in (None, 7, {"samples": "many"}):
        sums.finished(task("a", dict), {**BARE, "result": result, "seconds": 1.0})
    assert told(store)[-1]["done"] == 3


def test_a_note_says_what_is_left(store):
    sums = tally(store, 2)
    sums.started -= 10
    sums.finished(task("a", dict), {**RECORD, "seconds": 10.0})
    assert sums.note() == "1 samples/s, 10 s left, 2 quarantined, 3 requests repeated"


def test_the_minute_in_which_workers_start_slows_no_rate(store):
    sums = tally(store, 3)
    sums.started -= 70
    sums.finished(task("a", dict), {**RECORD, "seconds": 10.0})
    assert sums.note().startswith("1 samples/s, 20 s left")
    assert told(store)[-1]["seconds"] == pytest.approx(10.0, abs=0.5)


def test_time_left_counts_nothing_of_an_earlier_attempt(store):
    sums = tally(store, 100)
    sums.resumed([RECORD] * 90)
    sums.started -= 10
    for name in "abcde":
        sums.finished(task(name, dict), {**RECORD, "seconds": 10.0})
    assert sums.note().startswith("5 samples/s, 10 s left")


@pytest.mark.parametrize(("done", "rate"), [(50, "5.0/s, 5 s left"), (5, "30.0/min, 3 min 10 s left")])
def test_tasks_without_samples_are_counted_themselves(store, done, rate):
    sums = tally(store, 75 if done == 50 else 100)
    sums.started -= 10
    for at in range(done):
        sums.finished(task(str(at), dict), BARE)
    assert sums.note() == rate


def test_the_memory_of_the_largest_task_is_told(store):
    sums = tally(store, 3)
    for at, memory in enumerate((1_000_000, 1_380_000_000, 5_000_000)):
        sums.finished(task(str(at), dict), {**RECORD, "peak_memory_bytes": memory})
    assert "1.38 GB a task at most" in sums.note()
    assert told(store)[-1]["peak_memory_bytes"] == 1_380_000_000


def test_how_many_tasks_there_are_is_told_before_the_first_ends(store):
    tally(store, 8).resumed([])
    assert [(event["done"], event["total"]) for event in told(store)] == [(0, 8)]


def test_what_a_stage_waits_for_is_told_until_a_task_has_ended(store):
    sums = tally(store, 2)
    for what in ("starting Ray", "loading ViT-B-32", "loading ViT-B-32"):
        sums.waiting(what)
    assert [event["waits"] for event in told(store)] == ["starting Ray", "loading ViT-B-32"]
    sums.finished(task("a", dict), BARE)
    sums.waiting()
    assert "waits" not in told(store)[-1]


def test_a_stage_that_waits_in_the_middle_says_so_beside_what_is_done(store, capsys):
    time = Time()
    reporter = LineReporter(time.clock())
    reporter.start("embedding", 3, "shards")
    sums = StageProgress("embedding", 3, "shards", EventLog(store), reporter, clock=time.clock())
    sums.finished(task("a", dict), BARE)
    time.sleep(20)
    sums.waiting("waiting for workers: 0 of 2")
    assert told(store)[-1]["waits"] == "waiting for workers: 0 of 2"
    assert capsys.readouterr().err == "embedding    1/3 shards, waiting for workers: 0 of 2, 20 s\n"


def test_a_stage_in_which_nothing_ends_still_says_so(store):
    sums = tally(store, 2)
    sums.waiting()
    assert told(store)[-1]["done"] == 0
