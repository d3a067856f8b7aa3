"""run.json: what is written is read, wherever the run lies, and nothing else."""

import json

import pytest
from finished_runs import run_record

from filtering.core.errors import DamagedError, InputError
from filtering.runtime.run_record import read_run, write_run
from filtering.storage.checksums import KEY
from filtering.storage.store import Store


@pytest.fixture
def run(tmp_path) -> Store:
    store = Store(str(tmp_path / "run"))
    write_run(store, run_record(warnings=["few"]))
    return store


def test_the_record_that_was_written_is_read(run):
    assert read_run(run) == run_record(warnings=["few"])


def test_a_run_may_be_renamed(run, tmp_path):
    (tmp_path / "run").rename(tmp_path / "elsewhere")
    assert read_run(Store(str(tmp_path / "elsewhere")))["warnings"] == ["few"]


def test_every_flipped_bit_of_what_it_says_is_noticed(run):
    data = run.read("run.json")
    for at in range(data.index(KEY.encode())):
        run.write("run.json", data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1 :])
        with pytest.raises(DamagedError, match=r"/run/run\.json: is damaged|/run/run\.json: is no JSON"):
            read_run(run)


def test_one_without_a_checksum_is_read_as_that_of_an_older_version(run):
    record = json.loads(run.read("run.json"))
    del record[KEY]
    run.write_json("run.json", record)
    assert read_run(run) == run_record(warnings=["few"])


def test_a_folder_without_one_is_no_finished_run(tmp_path):
    with pytest.raises(InputError, match=r"holds no finished run \(no run\.json\)"):
        read_run(Store(str(tmp_path)))


def test_a_run_that_has_not_finished_is_told_to_be_resumed(tmp_path):
    Store(str(tmp_path)).write("events.jsonl", b"")
    with pytest.raises(InputError, match=r"run there has not finished, the same command resumes it$"):
        read_run(Store(str(tmp_path)))
