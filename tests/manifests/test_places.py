"""Nothing is written into a run's folder, whoever's it is, and nothing where a run's pool is."""

import json
import re

import pytest
from finished_runs import write_finished
from pools import members, write_tar

from filtering.core.errors import InputError
from filtering.manifests.places import check_apart, holds_run
from filtering.storage.outputs import Layout
from filtering.storage.retries import DENIED_ATTEMPTS
from filtering.storage.store import Store

LAYOUT = Layout("--out", re.compile("page"))


@pytest.fixture
def finished(tmp_path) -> Store:
    (tmp_path / "pool").mkdir()
    write_tar(tmp_path / "pool/00000000.tar", members(0, 1))
    return write_finished(tmp_path / "run", tmp_path / "pool")


@pytest.mark.parametrize("inside", ["run", "run/", "run/report", "run/not/there", "out/../run/x", "link/manifest"])
def test_no_place_inside_a_run_is_taken(finished, tmp_path, inside):
    (tmp_path / "link").symlink_to(tmp_path / "run")
    with pytest.raises(InputError, match=rf"--out: .* is inside the run's directory {tmp_path}/run; choose a folder"):
        check_apart(f"{tmp_path}/{inside}", LAYOUT)


def test_a_run_is_known_when_it_has_begun_and_on_every_store():
    out = Store("memory://places/runs/b")
    assert not holds_run(out)
    line = {"time": 1.0, "event": "run_started", "config_hash": "0"}
    out.write("events.jsonl", json.dumps(line).encode() + b"\n{half")
    with pytest.raises(InputError, match="is inside the run's directory memory://places/runs/b;"):
        check_apart(out.path("report/x"), LAYOUT)
    check_apart("memory://places/runs/report", LAYOUT)


@pytest.mark.parametrize("data", [b"{}", b"[1]", b"no json", b'{"name": "mine"}'])
def test_what_others_call_run_json_makes_no_run(tmp_path, data):
    (tmp_path / "run.json").write_bytes(data)
    (tmp_path / "events.jsonl").write_bytes(data)
    check_apart(f"{tmp_path}/out", LAYOUT)


def test_the_pool_of_each_run_is_no_place_to_write_to(finished, tmp_path):
    check_apart(f"{tmp_path}/out", LAYOUT, finished)
    with pytest.raises(InputError, match=r"--out: .*pool is where the input has .*; choose a folder of its own"):
        check_apart(f"{tmp_path}/pool", LAYOUT, finished)


def test_where_a_store_refuses_to_be_read_it_is_not_asked_again_for_every_folder_above(proxy, s3):
    place = f"s3://{s3.bucket}/team/runs/nightly/out"
    check_apart(place, LAYOUT)
    proxy.set(denied_rate=1)
    check_apart(place, LAYOUT)
    assert proxy.counts()["requests"] == DENIED_ATTEMPTS
