"""A run that is made again, with another selection, while others have it open: nothing of both is mixed."""

import pytest
from in_process import export
from pools import Silent, members, tar_config, write_tar

import filtering
from filtering.config.run import parse_config
from filtering.core.errors import InputError
from filtering.exports import job
from filtering.exports.options import Options
from filtering.pipeline.run import run as made
from filtering.storage.store import Store

pytestmark = pytest.mark.slow

SAID = "was made again with other results since it was opened; open it again"


@pytest.fixture
def make(tmp_path):
    """Make the run with a seed of its selection; the same folder every time."""
    (tmp_path / "pool").mkdir()
    for shard in range(3):
        write_tar(tmp_path / "pool" / f"{shard:05d}.tar", members(shard, 8))

    def make(seed: int) -> str:
        selection = {"method": "random", "keep": 0.5, "seed": seed}
        config = tar_config(tmp_path / "pool", tmp_path / "run", selection=selection)
        made(parse_config(config), Silent())
        return str(tmp_path / "run")

    return make


def test_a_loader_does_not_go_on_with_another_selection(make):
    pipeline = filtering.kept_pipeline(make(0))
    samples = iter(pipeline)
    next(samples)
    make(1)
    with pytest.raises(InputError, match=SAID):
        list(samples)
    with pytest.raises(InputError, match=SAID):
        list(pipeline)


def test_a_loader_goes_on_where_the_same_run_was_made_again(make):
    pipeline = filtering.kept_pipeline(make(0))
    samples = iter(pipeline)
    keys = [next(samples)["__key__"]]
    make(0)
    keys += [sample["__key__"] for sample in samples]
    assert keys == [sample["__key__"] for sample in pipeline]
    assert len(keys) == pipeline.samples


def test_the_tables_of_an_opened_run_are_those_of_its_summary(make):
    run = filtering.open_run(make(0))
    dataset = run.kept()
    keys = dataset.to_table()["key"].to_pylist()
    make(1)
    for read in (run.kept, run.dropped, run.quarantined, dataset.to_table):
        with pytest.raises(InputError, match=SAID):
            read()
    make(0)
    assert run.kept().to_table()["key"].to_pylist() == keys


@pytest.mark.parametrize("form", ["shards", "tar", "parquet", "table", "mds", "litdata", "datacomp"])
def test_an_export_is_of_one_selection(make, tmp_path, monkeypatch, form):
    run = Store(make(0))
    executor_of = job.Runtime

    def meanwhile(*given):
        make(1)
        return executor_of(*given)

    # When the run was read, and nothing is written yet.
    monkeypatch.setattr(job, "Runtime", meanwhile)
    with pytest.raises(InputError, match=SAID):
        export(run, form, str(tmp_path / "out"), Options(embeddings=form == "datacomp"))
    assert not (tmp_path / "out" / job.MANIFEST).exists()
