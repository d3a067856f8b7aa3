"""Hugging Face's `datasets` reads the folders of exports: by the card that is in them, and by a glob of their files."""

import json
from pathlib import Path

import pyarrow as pa
import pytest
from in_process import export

import filtering
from filtering.storage.store import Store

datasets = pytest.importorskip("datasets")
pytestmark = pytest.mark.slow


@pytest.fixture
def loaded(tmp_path, monkeypatch):
    """Load a dataset, with a cache of its own and without asking any server."""
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)

    def load(*given, **named):
        return datasets.load_dataset(*given, split="train", cache_dir=str(tmp_path / "cache"), **named)

    return load


def kept_of(run: Path) -> dict[str, str]:
    """The keys of kept samples by their uid."""
    table = filtering.open_run(run).kept().to_table()
    return dict(zip(table["uid"].to_pylist(), table["key"].to_pylist(), strict=True))


@pytest.mark.parametrize("streaming", [False, True])
def test_tars_are_a_webdataset(tar_run, tmp_path, loaded, streaming):
    export(Store(str(tar_run)), "tar", str(tmp_path / "out"))
    kept = set(kept_of(tar_run).values())
    by_card = loaded(str(tmp_path / "out"), streaming=streaming)
    by_glob = loaded("webdataset", data_files={"train": f"{tmp_path}/out/*.tar"}, streaming=streaming)
    for rows in (list(by_card), list(by_glob)):
        assert {row["__key__"] for row in rows} == kept
        assert len(rows) == len(kept)
        for row in rows:
            assert row["txt"] == f"a picture called {row['__key__']}"
            assert row["jpg"].size == (64, 64)
            assert row["json"]["key"] == row["__key__"]


@pytest.mark.parametrize("form", ["parquet", "table"])
def test_parquet_files_are_a_dataset(metadata_run, tmp_path, loaded, form):
    found = export(Store(str(metadata_run)), form, str(tmp_path / "out"))
    by_card = loaded(str(tmp_path / "out"))
    by_glob = loaded("parquet", data_files=f"{tmp_path}/out/*.parquet")
    assert by_card.column_names == by_glob.column_names == found["columns"]
    rows = by_card.with_format("arrow")[:]
    assert rows.equals(by_glob.with_format("arrow")[:])
    kept = rows if form == "parquet" else rows.filter(pa.compute.equal(rows["status"], "kept"))
    assert dict(zip(kept["uid"].to_pylist(), kept["key"].to_pylist(), strict=True)) == kept_of(metadata_run)
    assert len(rows) == found["samples" if form == "table" else "kept"]


def test_a_card_says_which_run_the_samples_are_of(tar_run, tmp_path):
    export(Store(str(tar_run)), "tar", str(tmp_path / "out"))
    text, record = (tmp_path / "out/README.md").read_text(), json.loads((tar_run / "run.json").read_text())
    for name in ("run_id", "config_hash", "manifest_hash"):
        assert record[name] in text
