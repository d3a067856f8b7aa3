import json
import os
import pickle
import signal
import subprocess
import threading
import time
from pathlib import Path

import boto3
import pytest
from clocks import Time
from clusters import until
from leases import Process, elsewhere, put
from moto.s3.responses import S3Response
from moto.server import ThreadedMotoServer

from filtering.core.clock import SLEEPLESS, Clock
from filtering.core.errors import InputError, RunError
from filtering.storage import lease as module
from filtering.storage.lease import Lease
from filtering.storage.lease_record import this_process, writer
from filtering.storage.store import Store, create_object

KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}


@pytest.fixture(scope="module")
def s3_environment():
    server, one_at_a_time, put_object = ThreadedMotoServer(port=0), threading.Lock(), S3Response.put_object

    def atomic_put_object(self):
        with one_at_a_time:
            return put_object(self)

    # S3 decides on If-None-Match atomically; moto looks first and puts afterwards.
    S3Response.put_object = atomic_put_object
    server.start()
    endpoint = "http://{}:{}".format(*server.get_host_and_port())
    client = boto3.client("s3", endpoint_url=endpoint, aws_access_key_id="test", aws_secret_access_key="test")
    client.create_bucket(Bucket="runs")
    yield KEYS | {"AWS_ENDPOINT_URL": endpoint, "FSSPEC_S3_ENDPOINT_URL": endpoint}
    server.stop()
    S3Response.put_object = put_object


@pytest.fixture(params=["local", "s3"])
def processes(request, tmp_path):
    """Start processes that take the lease on one output, on this disk or on S3."""
    started = []
    url = str(tmp_path / "run") if request.param == "local" else f"s3://runs/{tmp_path.name}"
    environment = {} if request.param == "local" else request.getfixturevalue("s3_environment")

    def start(count, heartbeat=10.0, ahead=0.0):
        new = [Process(url, heartbeat, ahead, environment) for _ in range(count)]
        started.extend(new)
        assert [process.answer() for process in new] == ["ready"] * count
        return new

    yield start
    for process in started:
        process.end()


@pytest.fixture
def run(tmp_path):
    return tmp_path / "run"


def lease_on(run, at=None, ahead=0.0):
    return Lease(Store(str(run)), clock=at.clock(ahead) if at else SLEEPLESS)


def newest(run):
    return json.loads(max((run / "lease").iterdir()).read_text())


def test_of_eight_runs_that_start_at_once_exactly_one_goes_on(processes):
    racers = processes(8)
    for racer in racers:
        racer.tell("go")
    answers = [racer.answer() for racer in racers]
    (winner,) = [racer for racer, answer in zip(racers, answers, strict=True) if answer == "held, from None"]
    refused = [answer for answer in answers if answer != "held, from None"]
    assert all(f"process {winner.pid}," in answer for answer in refused)
    assert winner.ask("check") == "holds"
    assert winner.ask("release") == "released"


def test_a_run_that_was_stopped_and_taken_over_notices_and_leaves_the_new_holder_alone(processes):
    # By the clock of the second, the first is late by an hour; what decides is that nothing comes from it.
    (first,), (second,) = processes(1, heartbeat=0.05), processes(1, heartbeat=0.2, ahead=3600.0)
    assert first.ask("go") == "held, from None"
    os.kill(first.pid, signal.SIGSTOP)
    assert second.ask("go").startswith("held, from host")
    os.kill(first.pid, signal.SIGCONT)
    assert f"was taken over by host {this_process(0).host}, process {second.pid}" in first.ask("check")
    assert first.ask("release") == "released"
    assert second.ask("check") == "holds"


def test_a_run_killed_on_this_machine_is_taken_over_at_once(processes):
    killed, following = processes(2)
    killed.ask("go")
    killed.end()
    assert following.ask("go").endswith(f"process {killed.pid}")


def test_a_killed_run_is_dead_even_before_its_parent_has_noticed(run):
    with subprocess.Popen(["sleep", "60"]) as child:
        started = Path(f"/proc/{child.pid}/stat").read_text().split()[21]
        identity = {"token": 1, "pid": child.pid, "started": int(started)}
        put(run, this_process(time.time()).model_copy(update=identity))
        with pytest.raises(InputError, match=f"process {child.pid}"):
            lease_on(run).acquire()
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        lease_on(run).acquire()


def test_a_number_that_another_process_has_by_now_is_no_sign_of_life(run):
    now = time.time()
    put(run, this_process(now).model_copy(update={"token": 1, "started": 1}))
    with lease_on(run) as lease:
        assert lease.taken_over_from.endswith(f"process {os.getpid()}")


def test_a_refusal_names_the_holder_and_its_age(run):
    at = Time()
    put(run, elsewhere(at.now - 4, acquired=at.now - 8000, job="filtering-2026-11-21"))
    with pytest.raises(InputError) as refusal:
        lease_on(run, at).acquire()
    assert str(refusal.value) == (
        f"output: {run} is being written by host gpu-head-1, process 4711 (job filtering-2026-11-21), "
        "for 2 h 13 min, last heard of 4 s ago; wait for it, stop it, or choose another output"
    )


def test_a_refusal_says_when_a_holder_that_missed_heartbeats_can_be_taken_over(run):
    at = Time()
    put(run, elsewhere(at.now - 35))
    with pytest.raises(InputError, match=r"last heard of 35 s ago; .*; if it is dead, it can be taken over in 25 s$"):
        lease_on(run, at).acquire()


@pytest.mark.parametrize("ahead", [0.0, 3600.0, -3600.0])
def test_a_holder_elsewhere_that_looks_stale_is_taken_over_after_it_was_watched(run, ahead):
    at = Time()
    put(run, elsewhere(at.now - 61))
    said = []
    lease, began = Lease(Store(str(run)), clock=at.clock(ahead), announce=said.append), at.now
    lease.acquire()
    assert at.now - began >= 15
    assert said == [f"{run} seems to have been left by host gpu-head-1, process 4711; watching it for 15 s to be sure"]
    assert lease.taken_over_from == "host gpu-head-1, process 4711"


@pytest.mark.parametrize("ahead", [-3600.0, 3600.0])
def test_a_holder_whose_clock_is_wrong_is_left_alone_while_it_beats(run, ahead):
    at = Time()
    holder, began = lease_on(run, at, ahead), at.now
    holder.acquire()
    at.while_sleeping = lambda: holder.beat() if at.now >= began + 14 else None
    with pytest.raises(InputError, match="last heard of 0 s ago"):
        lease_on(run, at).acquire()
    holder.check(fresh=True)


@pytest.mark.parametrize("jump", [-7200.0, 7200.0])
@pytest.mark.parametrize("whose", ["the holder's", "the other's"])
@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_a_clock_that_jumps_takes_no_lease_away(run, whose, jump, when):
    at, ahead = Time(), {"the holder's": 0.0, "the other's": 0.0 if when == "before" else 300.0}
    holder, other = (
        Lease(Store(str(run)), clock=Clock(lambda one=one: at.now + ahead[one], lambda: at.now, at.sleep))
        for one in ahead
    )
    holder.acquire()
    beaten = at.now

    def meanwhile():
        nonlocal beaten
        ahead[whose] += jump if when == "meanwhile" and at.slept[1:] == [] else 0.0
        if at.now - beaten >= 10:
            beaten = at.now
            holder.beat()

    at.while_sleeping = meanwhile
    if when == "before":
        ahead[whose] += jump
    with pytest.raises(InputError, match="is being written by host"):
        other.acquire()
    holder.check(fresh=True)


@pytest.mark.parametrize(("ahead", "told"), [(0.0, True), (59.0, True), (3600.0, False), (-3600.0, False)])
def test_a_heartbeat_hours_before_or_after_now_tells_of_no_writer(run, ahead, told):
    put(run, elsewhere(time.time() + ahead))
    assert (writer(Store(str(run))) is not None) == told


def test_a_folder_with_the_name_of_a_lease_is_no_lease(run):
    (run / "lease/00000003.json").mkdir(parents=True)
    assert writer(Store(str(run))) is None
    lease_on(run, Time()).acquire()
    assert sorted(path.name for path in (run / "lease").iterdir())[-1] == "00000004.json"


def test_a_holder_that_releases_while_it_is_watched_makes_room(run):
    at = Time()
    holder = lease_on(run, at, ahead=-3600)
    holder.acquire()
    at.while_sleeping = holder.release
    following = lease_on(run, at)
    following.acquire()
    assert following.taken_over_from is None


def test_heartbeats_keep_a_lease_fresh_however_long_it_is_held(run):
    at = Time()
    with Lease(Store(str(run)), heartbeat_seconds=0.02, clock=at.clock()) as lease:
        for _ in range(3):
            at.now += 40
            until(lambda: newest(run)["heartbeat"] == at.now, "it beats again")
        lease.check()
        with pytest.raises(InputError, match=rf"process {os.getpid()}, for 2 min, last heard of 0 s ago"):
            Lease(Store(str(run)), clock=at.clock()).acquire()


def test_a_lease_that_could_not_be_renewed_for_long_stops_its_holder_although_nobody_took_it(run):
    at = Time()
    lease = lease_on(run, at)
    lease.acquire()
    at.now += 59
    lease.check()
    at.now += 2
    with pytest.raises(RunError, match="could not be renewed for 1 min 01 s; this run stops"):
        lease.check()


def test_a_run_that_slept_and_was_not_taken_over_goes_on(run):
    at = Time()
    with Lease(Store(str(run)), heartbeat_seconds=0.3, stale_seconds=60, clock=at.clock()) as lease:
        at.now += 3600
        lease.check()
    assert newest(run)["beats"] >= 1


def test_a_check_relies_on_a_recent_look_and_a_fresh_one_looks(run):
    at = Time()
    lease = lease_on(run, at)
    lease.acquire()
    put(run, elsewhere(at.now, token=2))
    lease.check()
    message = "was taken over by host gpu-head-1, process 4711 at 2023-11-14 20:13:20 UTC; this run stops"
    with pytest.raises(RunError, match=message):
        lease.check(fresh=True)
    with pytest.raises(RunError, match=message):
        lease.check()


def test_a_check_looks_by_itself_after_the_machine_has_slept(run, monkeypatch):
    # While it sleeps, only this clock of the system goes on.
    slept = 0.0
    monkeypatch.setattr("filtering.core.clock.time.clock_gettime", lambda clock: 1000.0 + slept)
    lease = lease_on(run)
    lease.acquire()
    put(run, elsewhere(time.time(), token=2))
    lease.check()
    slept = 21.0
    with pytest.raises(RunError, match="taken over"):
        lease.check()


def test_a_check_looks_by_itself_where_heartbeats_are_late(run):
    at = Time()
    lease = lease_on(run, at)
    lease.acquire()
    put(run, elsewhere(at.now, token=2))
    at.now += 21
    with pytest.raises(RunError, match="taken over"):
        lease.check()


def test_a_worker_checks_with_a_pickled_copy_of_the_fence(run):
    lease = lease_on(run)
    lease.acquire()
    fence = pickle.loads(pickle.dumps(lease.fence()))
    fence.check()
    put(run, elsewhere(time.time(), token=2))
    with pytest.raises(RunError, match=f"the lease on {run} was taken over by host gpu-head-1"):
        fence.check()


def test_a_lease_removed_by_hand_stops_its_holder(run):
    lease = lease_on(run)
    lease.acquire()
    Store(str(run)).child("lease").delete("00000001.json")
    with pytest.raises(RunError, match=f"the lease on {run} was removed; this run stops"):
        lease.check(fresh=True)


def test_a_released_lease_is_free_at_once_and_old_ones_are_cleared_away(run):
    for _ in range(6):
        with lease_on(run) as lease:
            assert lease.taken_over_from is None
    assert sorted(path.name for path in (run / "lease").iterdir()) == [
        "00000004.json",
        "00000005.json",
        "00000006.json",
    ]
    assert newest(run)["released"] is True


def test_a_lease_is_released_when_the_run_fails(run):
    with pytest.raises(RunError, match="as it was"), lease_on(run):
        raise RunError("as it was")
    assert newest(run)["released"] is True


@pytest.mark.parametrize("content", [b"", b"not JSON", b"{}", b'{"token": 3, "pid": -1}', b"\xff"])
def test_an_object_that_is_no_lease_is_taken_over_after_nobody_changed_it(run, content):
    at = Time()
    Store(str(run)).child("lease").write("00000003.json", content)
    lease, began = lease_on(run, at), at.now
    lease.acquire()
    assert at.now - began >= 15
    assert lease.taken_over_from == "an unreadable lease/00000003.json"
    assert lease.fence().token == 4


def test_an_object_of_another_release_is_left_alone_while_somebody_writes_it(run):
    at, folder = Time(), Store(str(run)).child("lease")
    folder.write("00000003.json", b"beat 1")
    at.while_sleeping = lambda: folder.write("00000003.json", b"beat 2")
    with pytest.raises(InputError, match="is being written by another run; wait for it"):
        lease_on(run, at).acquire()


def test_names_that_are_no_tokens_are_left_alone(run):
    folder = Store(str(run)).child("lease")
    for name in ("notes.json", "7.json", "00000009.json.42.tmp"):
        folder.write(name, b"x")
    with lease_on(run) as lease:
        assert lease.fence().token == 1
    assert {"notes.json", "7.json", "00000009.json.42.tmp"} < {path.name for path in (run / "lease").iterdir()}


def test_a_put_that_was_sent_twice_and_says_no_the_second_time_still_wins(run, monkeypatch):
    monkeypatch.setattr(module, "create_object", lambda *given: create_object(*given) and create_object(*given))
    with lease_on(run) as lease:
        lease.check(fresh=True)


def test_a_token_that_became_free_again_while_others_came_and_went_wins_nothing(run, monkeypatch):
    def others_first(*given):
        monkeypatch.undo()
        for _ in range(4):
            lease_on(run).__enter__().release()
        current.acquire()
        return create_object(*given)

    current = lease_on(run)
    monkeypatch.setattr(module, "create_object", others_first)
    with pytest.raises(InputError, match=f"process {os.getpid()}, for 0 s"):
        lease_on(run).acquire()
    current.check(fresh=True)
    assert "00000001.json" not in {path.name for path in (run / "lease").iterdir()}


def test_a_holder_whose_object_another_run_could_replace_stops_at_its_next_heartbeat(run):
    lease = lease_on(run)
    lease.acquire()
    put(run, elsewhere(time.time(), token=1))
    with pytest.raises(RunError, match="taken over by host gpu-head-1"):
        lease.beat()
    with pytest.raises(RunError, match="taken over by host gpu-head-1"):
        lease.check()
    lease.release()
    assert newest(run)["nonce"] == "elsewhere"


def test_the_holder_says_which_submitted_job_it_is(run, monkeypatch):
    metadata = {"job_submission_id": "nightly-7", "job_name": "nightly-7"}
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", json.dumps({"runtime_env": {}, "metadata": metadata}))
    with lease_on(run), pytest.raises(InputError, match=r"\(job nightly-7\)"):
        lease_on(run).acquire()


def test_a_place_that_cannot_be_written_says_so(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        lease_on(tmp_path / "file").acquire()
