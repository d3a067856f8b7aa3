"""A run deletes and overwrites nothing but its own objects, and refuses a folder in which others have written."""

import pytest
from pools import Silent, Told, metadata_config, write_metadata

from filtering.config.run import parse_config
from filtering.core.errors import InputError
from filtering.pipeline import incremental
from filtering.pipeline import run as pipeline
from filtering.pipeline.layout import is_own
from filtering.storage.lease import Lease
from filtering.storage.store import Store

FOREIGN = ("reports/2025.html", "manifest-backup/subset.npy", "notes.txt", "stages-old/x", "run.json.bak")
INSIDE = ("manifest/notes.txt", "manifest/kept/mine.parquet", "report/extra.html", "stages/report-draft/x")


@pytest.fixture
def out(tmp_path):
    return Store(str(tmp_path / "run"))


@pytest.fixture
def start(tmp_path, out):
    pool = write_metadata(tmp_path / "pool", [60])

    def started(keep=0.3, insist=False, progress=None, **sections):
        config = metadata_config(
            pool, out.url, concepts={"clusters": 2}, selection={"variant": "paper", "keep": keep}, **sections
        )
        return pipeline.run(parse_config(config), progress or Silent(), into_existing=insist)

    return started


def write_all(out, names):
    for name in names:
        out.write(name, name.encode())


def read_all(out, names):
    return all(out.read(name) == name.encode() for name in names)


def test_files_of_others_stay_through_every_run(start, out):
    write_all(out, FOREIGN)
    before = out.names()
    with pytest.raises(InputError, match=r"holds files that do not belong to this output .*--into-existing"):
        start()
    assert out.names() == before
    start(insist=True)
    write_all(out, INSIDE)
    # A run that is already there goes on without insisting; another selection makes room for its manifests.
    assert start(0.5)["totals"]["kept"] == 30
    assert read_all(out, FOREIGN + INSIDE)


@pytest.mark.parametrize("name", ["manifest/mine.txt", "report/index.html", "run.json", "events.jsonl", "stages/x"])
def test_a_name_that_others_have_taken_is_named(start, out, name):
    write_all(out, [name])
    for insist in (False, True):
        with pytest.raises(InputError, match=f"{name.partition('/')[0]} is there and was not written by filtering"):
            start(insist=insist)
    assert read_all(out, [name])


def test_the_lease_of_a_folder_of_runs_does_not_make_all_in_it_ours(start, out):
    write_all(out, ["manifest/subset.npy"])
    with Lease(out), pytest.raises(InputError, match="manifest is there"):
        start(insist=True)
    assert read_all(out, ["manifest/subset.npy"])


def test_a_run_that_was_killed_at_its_first_write_goes_on(start, out):
    out.write(f"lease/00000001.json.{'a' * 32}.tmp", b"{")
    assert start()["totals"]["kept"] == 18


@pytest.mark.parametrize("output", ["pool", "pool/../pool", "link"])
def test_an_output_in_the_pool_is_refused_always(start, tmp_path, output):
    (tmp_path / "link").symlink_to(tmp_path / "pool")
    before = sorted((tmp_path / "pool").iterdir())
    config = metadata_config(tmp_path / "pool", f"{tmp_path}/{output}")
    with pytest.raises(InputError, match=r"output: .* is where the input has .*; choose a folder of its own"):
        pipeline.run(parse_config(config), Silent(), into_existing=True)
    assert sorted((tmp_path / "pool").iterdir()) == before


def test_names_of_a_run():
    ours = ("run.json", "stages/graph-0123456789abcdef/00000000.graph.npz", "manifest/kept/00000000.parquet")
    assert all(map(is_own, (*ours, f"manifest/subset.npy.{'0' * 32}.tmp", "lease/00000012.json")))
    assert not any(map(is_own, (*FOREIGN, *INSIDE, "stages/graph-backup/x", "lease/me.json", "x/run.json")))


def test_a_run_that_replaces_a_finished_one_of_another_configuration_says_so(start):
    first = start(0.3)
    for keep, line in ((0.3, []), (0.5, [first["manifest_hash"][:16] + ", 18 kept)"])):
        told = Told()
        start(keep, progress=told)
        assert [said.partition("(manifest ")[2] for said in told.lines if "replaces the finished run" in said] == line


def test_no_run_begins_inside_another_and_one_that_began_there_goes_on(start, out, tmp_path):
    line = b'{"time": 1.0, "event": "run_started", "config_hash": "0"}\n'
    (tmp_path / "events.jsonl").write_bytes(line)
    with pytest.raises(
        InputError, match=rf"^output: {out.url} is inside the run's directory {tmp_path}; choose a folder"
    ):
        start()
    assert not out.names()
    out.write("events.jsonl", line)
    assert start()["totals"]["input"] == 60


def test_no_run_is_written_where_the_pool_of_its_base_is(start, out, tmp_path):
    start()
    write_metadata(tmp_path / "new", [60])
    config = metadata_config(tmp_path / "new", tmp_path / "pool", concepts={"clusters": 2}, base=out.url)
    with pytest.raises(InputError, match=rf"^output: {tmp_path}/pool is where the input has {tmp_path}/pool/"):
        incremental.run(parse_config(config), Silent(), True)
