"""What reads a run's manifest refuses an object that is not as it was written, wherever its checksum is held."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from in_process import export

import filtering
from filtering.core.errors import DamagedError, InputError
from filtering.manifests.diff import diff
from filtering.samplers.samples import kept_samples
from filtering.storage.store import Store

CHANGED = "its bytes have changed since it was written; give the command of that run again"


@pytest.fixture(params=["now", "older"])
def copied(request, metadata_run, tmp_path) -> Path:
    """A finished run that may be damaged; of an older version its stage knows no checksums."""
    run = shutil.copytree(metadata_run, tmp_path / "run")
    if request.param == "older":
        shutil.rmtree(next(run.glob("stages/manifests-*")))
    return run


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def without_last_line(path: Path) -> None:
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))


def with_another_url(path: Path) -> None:
    path.write_text(path.read_text().replace('"url": "', '"url": "/elsewhere', 1))


def refused(name: str, fault: str = CHANGED):
    return pytest.raises(DamagedError, match=rf"{name}: {fault}")


@pytest.mark.parametrize("damage", [emptied, without_last_line, with_another_url])
def test_a_list_of_shards_that_was_changed_is_refused(copied, metadata_run, tmp_path, damage):
    damage(copied / "manifest/shards.jsonl")
    opened = filtering.open_run(str(copied))
    for read in (
        opened.kept,
        lambda: diff(str(metadata_run), str(copied)),
        lambda: kept_samples(str(copied)),
        lambda: export(Store(str(copied)), "shards", str(tmp_path / "out")),
    ):
        with refused("shards.jsonl"):
            read()


def test_a_subset_file_that_was_changed_is_not_exported(copied, tmp_path):
    path = copied / "manifest/subset.npy"
    np.save(path, np.load(path)[:-3])
    with refused("subset.npy"):
        export(Store(str(copied)), "datacomp", str(tmp_path / "subset.npy"))
    assert not (tmp_path / "subset.npy").exists()
    path.unlink()
    with refused("subset.npy", "is missing"):
        export(Store(str(copied)), "datacomp", str(tmp_path / "subset.npy"))


def test_a_subset_file_that_is_there_is_compared_with_what_the_run_wrote(copied, tmp_path):
    path, there, other = copied / "manifest/subset.npy", tmp_path / "there.npy", tmp_path / "other.npy"
    shutil.copy(path, there)
    np.save(path, np.load(path)[:-3])
    shutil.copy(path, other)
    export(Store(str(copied)), "datacomp", str(there))
    with pytest.raises(InputError, match=r"other\.npy is there and is not this run's subset file"):
        export(Store(str(copied)), "datacomp", str(other))


def test_checksums_that_are_gone_are_named(copied, metadata_run):
    (copied / "manifest/checksums.json").unlink()
    for read in (filtering.open_run(str(copied)).kept, lambda: diff(str(metadata_run), str(copied))):
        with refused("checksums.json", "is missing"):
            read()


def test_checksums_that_were_changed_are_told_from_what_they_name(metadata_run, tmp_path):
    run = shutil.copytree(metadata_run, tmp_path / "run")
    path = run / "manifest/checksums.json"
    path.write_text(path.read_text().replace('"manifest/subset.npy": "', '"manifest/subset.npy": "0', 1))
    with refused("checksums.json"):
        filtering.open_run(str(run)).kept()
    # Its own checksum is held elsewhere.
    export(Store(str(run)), "datacomp", str(tmp_path / "subset.npy"))


def test_tables_of_an_opened_run_are_those_that_were_written(copied, metadata_run):
    dataset = filtering.open_run(str(copied)).kept()
    assert dataset.to_table().equals(filtering.open_run(str(metadata_run)).kept().to_table())
    first, second = (copied / f"manifest/kept/0000000{shard}.parquet" for shard in range(2))
    data = first.read_bytes(), second.read_bytes()
    first.write_bytes(data[1])
    second.write_bytes(data[0])
    for read in (dataset.to_table, filtering.open_run(str(copied)).kept().count_rows):
        with refused("kept/0000000.\\.parquet"):
            read()
    first.write_bytes(data[0][:-9])
    second.unlink()
    with refused("kept/0000000.\\.parquet", "(its bytes have changed|is missing)"):
        dataset.to_table()
