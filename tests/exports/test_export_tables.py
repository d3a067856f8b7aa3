"""Metadata and parquet exports say what the run knows, and go in again."""

import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from in_process import export
from pools import Silent, member, metadata_config, tar_config, write_metadata, write_tar

from filtering.config.run import parse_config
from filtering.core.errors import DamagedError, InputError
from filtering.exports.columns import Tables
from filtering.exports.options import Options
from filtering.pipeline import run as pipeline
from filtering.storage.store import Store

ALL = {"embeddings": True, "all": True}


def fields(number: int) -> dict:
    """What the JSON of a sample says; that of some is strange."""
    common = {"uid": f"{number:032x}", "url": f"http://example.org/{number}", "sha256": f"{number:064x}"}
    sizes = {"original_width": 800, "original_height": 600, "face_bboxes": [[0.1, 0.2, 0.3, 0.4]]}
    strange = {"url": 7, "face_bboxes": {"a": 1}, "original_width": "wide", "sha256": "\ud800"}
    return common | sizes | (strange if number % 5 == 4 else {})


@pytest.fixture(scope="module")
def tar_pool_with_urls(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("urls")
    for shard in range(2):
        parts = []
        for at in range(10):
            number = 10 * shard + at
            picture, (name, _), caption = member(f"{number:09d}", number)
            parts += [picture, (name, json.dumps(fields(number)).encode()), caption]
        write_tar(folder / f"{shard:08d}.tar", parts)
    return folder


@pytest.fixture(scope="module")
def tar_finished(tar_pool_with_urls, tmp_path_factory) -> Store:
    folder = tmp_path_factory.mktemp("run") / "run"
    twice = [{"neg_clip_loss": {"batch_size": size}} for size in (4, 8)]
    score = {"combine": {"of": [{"score": one} for one in ("clip_score", "sds", *twice)], "by": "rank"}}
    config = tar_config(tar_pool_with_urls, folder, selection={"variant": "paper", "keep": 0.5, "score": score})
    pipeline.run(parse_config(config), Silent())
    return Store(str(folder))


@pytest.fixture
def metadata_finished(metadata_run) -> Store:
    return Store(str(metadata_run))


def kept_of(run: Store) -> dict[str, dict]:
    tables = [run.read_table(f"manifest/kept/{name}") for name in run.child("manifest/kept").names(".parquet")]
    return {row["uid"]: row for row in pa.concat_tables(tables).to_pylist()}


def test_parquet_has_urls_captions_and_every_score(tar_finished, tmp_path):
    found = export(tar_finished, "parquet", str(tmp_path / "out"), Options(samples=1))
    rows = [row for path in sorted((tmp_path / "out").glob("*.parquet")) for row in pq.read_table(path).to_pylist()]
    kept = kept_of(tar_finished)
    assert found["files"] == 2
    assert [row["uid"] for row in rows] == list(kept)
    for row in rows:
        number = int(row["uid"], 16)
        assert row["url"] == (None if number % 5 == 4 else f"http://example.org/{number}")
        assert row["caption"] == f"a picture called {number:09d}"
        assert {name: row[name] for name in kept[row["uid"]]} == kept[row["uid"]]
        assert row["combine"] == row["score"]
        assert np.isfinite([row["clip_score"], row["sds"]]).all()
        # Of two scorers of one kind, the second has a number.
        assert row["neg_clip_loss"] != row["neg_clip_loss_2"]
        assert (row["width"], row["height"]) == (64, 64)


def test_parquet_without_urls_does_not_open_the_tars(tar_finished, tar_pool_with_urls, tmp_path):
    export(tar_finished, "parquet", str(tmp_path / "out"), Options(no_urls=True))
    assert "url" not in pq.read_schema(tmp_path / "out/00000000.parquet").names


def test_parquet_of_metadata_has_its_urls(metadata_finished, metadata_pool, tmp_path):
    export(metadata_finished, "parquet", str(tmp_path / "out"), Options())
    source = pa.concat_tables(pq.read_table(path, columns=["uid", "url"]) for path in metadata_pool.glob("*.parquet"))
    urls = {row["uid"]: row["url"] for row in source.to_pylist()}
    rows = pq.read_table(tmp_path / "out/00000000.parquet").to_pylist()
    assert {row["uid"] for row in rows} == set(kept_of(metadata_finished))
    assert all(row["url"] == urls[row["uid"]] for row in rows)


def test_metadata_of_tars_is_datacomps_and_goes_in_again(tar_finished, run, tmp_path):
    found = export(tar_finished, "datacomp", str(tmp_path / "out"), Options(**ALL))
    tables = {path.stem: pq.read_table(path) for path in (tmp_path / "out").glob("*.parquet")}
    assert all(re.fullmatch("[0-9a-f]{32}", name) for name in tables)
    assert found["samples"] == 20
    for name, table in tables.items():
        with np.load(tmp_path / f"out/{name}.npz") as arrays:
            assert set(arrays) == {"img", "txt"}
            assert {array.dtype for array in arrays.values()} == {np.dtype(np.float16)}
            lengths = [np.linalg.norm(array.astype(np.float32), axis=1) for array in arrays.values()]
            assert np.allclose(lengths, 1, atol=1e-3)
            cosines = np.einsum("nd,nd->n", *(array.astype(np.float32) for array in arrays.values()))
            assert np.allclose(cosines, table["clip_similarity_score"].to_numpy(), atol=1e-3)
        for row in table.to_pylist():
            told = fields(int(row["uid"], 16))
            strange = told["url"] == 7
            assert row["url"] == (None if strange else told["url"])
            assert row["face_bboxes"] == (None if strange else told["face_bboxes"])
            assert (row["original_width"], row["original_height"]) == (64 if strange else 800, 600)
    assert (tmp_path / "out/subset.npy").read_bytes() == tar_finished.read("manifest/subset.npy")
    again = metadata_config(
        tmp_path / "out", tmp_path / "again", selection={"variant": "paper", "keep": 0.5}, concepts={"clusters": 2}
    )
    again["input"]["arrays"] = {"image": "img", "text": "txt"}
    assert run(again)["totals"] == {"input": 20, "kept": 10, "dropped": 10, "quarantined": 0}


@pytest.mark.parametrize("uid", ["uid", "UID", None])
def test_tables_as_laion_writes_them_come_out_with_the_runs_uids(run, tmp_path, uid):
    pool = write_metadata(tmp_path / "pool", [20])
    (path,) = pool.glob("*.parquet")
    table = pq.read_table(path)
    named = {"TEXT": table["text"], "URL": table["url"]}
    pq.write_table(pa.table(named | ({uid: pc.utf8_upper(table["uid"])} if uid else {})), path)
    run(metadata_config(pool, tmp_path / "run", concepts={"clusters": 1}, selection={"variant": "paper", "keep": 0.5}))
    finished = Store(str(tmp_path / "run"))
    export(finished, "parquet", str(tmp_path / "out"), Options())
    rows = pq.read_table(tmp_path / "out/00000000.parquet").to_pylist()
    known = {row["url"]: row["text"] for row in table.to_pylist()}
    assert len(rows) == 10
    assert all(known[row["url"]] == row["caption"] for row in rows)
    export(finished, "datacomp", str(tmp_path / "metadata"), Options(embeddings=True))
    written = pq.read_table(next((tmp_path / "metadata").glob("*.parquet")))
    assert set(written["uid"].to_pylist()) == {row["uid"] for row in rows}
    assert uid is None or {row["uid"] for row in rows} < set(table["uid"].to_pylist())


def test_metadata_of_metadata_is_the_same_rows_and_arrays(metadata_finished, metadata_pool, tmp_path):
    export(metadata_finished, "datacomp", str(tmp_path / "out"), Options(embeddings=True))
    kept = set(kept_of(metadata_finished))
    for path in metadata_pool.glob("*.parquet"):
        source, written = pq.read_table(path), pq.read_table(tmp_path / "out" / path.name)
        here = np.array([uid in kept for uid in source["uid"].to_pylist()])
        assert written.equals(source.filter(pa.array(here)))
        with np.load(path.with_suffix(".npz")) as old, np.load(tmp_path / "out" / f"{path.stem}.npz") as new:
            assert set(old) == set(new)
            assert all(np.array_equal(new[name], old[name][here]) for name in old)


def test_metadata_of_all_samples_is_the_pool_itself(metadata_finished, metadata_pool, tmp_path, run):
    export(metadata_finished, "datacomp", str(tmp_path / "out"), Options(**ALL))
    again = run(metadata_config(tmp_path / "out", tmp_path / "again"))
    assert again["manifest_hash"] == metadata_finished.read_json("run.json")["manifest_hash"]


def test_rows_that_are_gone_are_named(run, tmp_path):
    folder = write_metadata(Path(tmp_path), [300])
    run(metadata_config(folder, tmp_path / "run"))
    store = Store(str(tmp_path / "run"))
    objects = store.read_json("run.json")["objects"]["embedding"]
    store.delete_folder(objects)
    with pytest.raises(InputError, match="does not say where the shards' rows are; it was deleted"):
        export(store, "parquet", str(tmp_path / "out"), Options())


def lose_captions(store: Store, name: str) -> None:
    store.write_table(name, store.read_table(name).drop_columns(["caption"]))


def give_other_keys(store: Store, name: str) -> None:
    table = store.read_table(name)
    at = table.schema.get_field_index("key")
    store.write_table(name, table.set_column(at, "key", pa.array(["other"] * len(table))))


def repeat_rows(store: Store, name: str) -> None:
    table = pq.read_table(store.path(name))
    pq.write_table(pa.concat_tables([table, table]), store.path(name))


def test_scores_of_other_rows_are_damage(tmp_path):
    store, source = Store(str(tmp_path)), SimpleNamespace(shard=SimpleNamespace(identity="x", url="x.tar"))
    store.write_arrays("x.scores.npz", {"score": np.zeros(3)})
    tables = Tables(None, (), 1)
    assert len(tables.score(store, source, 3)) == 3
    with pytest.raises(DamagedError, match=r"x\.scores\.npz: is damaged: it holds 3 scores of 4 rows"):
        tables.score(store, source, 4)


@pytest.mark.parametrize(
    ("form", "pattern", "damage", "said"),
    [
        ("parquet", "stages/embedding-*/*.rows.parquet", lose_captions, r"\.rows\.parquet: .* column caption must be"),
        ("parquet", "stages/embedding-*/*.rows.parquet", give_other_keys, r"kept/0000000\d\.parquet: .* do not agree"),
        ("tar", "manifest/kept/*.parquet", repeat_rows, r"kept/0000000\d\.parquet: its bytes have changed"),
    ],
)
def test_what_another_object_than_was_written_holds_is_refused_by_its_name(
    tar_run, tmp_path, form, pattern, damage, said
):
    run = tmp_path / "run"
    shutil.copytree(tar_run, run)
    for path in sorted(run.glob(pattern)):
        damage(Store(str(path.parent)), path.name)
    with pytest.raises(DamagedError, match=said) as damaged:
        export(Store(str(run)), form, str(tmp_path / "out"))
    assert damaged.value.exit_status == 2
    assert "\n" not in str(damaged.value)


def of_type(kind: str, pool: Path) -> dict[str, str | None]:
    """Write the URLs of a pool in another type, some of them no text; return what they are, by uid."""
    known: dict[str, str | None] = {}
    for file in sorted(pool.glob("*.parquet")):
        table = pq.read_table(file)
        urls = table["url"].combine_chunks()
        cells = {
            "dictionary": urls.dictionary_encode(),
            "large": urls.cast(pa.large_string()),
            "view": urls.cast(pa.string_view()),
            "binary": pa.array([b"\xff\xfe", *urls.cast(pa.binary()).to_pylist()[1:]]),
            "null": pa.nulls(len(urls)),
            "none": urls,
        }[kind]
        missing = {"binary": [0], "null": range(len(urls)), "none": range(len(urls))}.get(kind, [])
        expected = [None if at in missing else url for at, url in enumerate(urls.to_pylist())]
        known |= dict(zip(table["uid"].to_pylist(), expected, strict=True))
        place = table.column_names.index("url")
        table = table.remove_column(place) if kind == "none" else table.set_column(place, "url", cells)
        # Whatever else is there is copied as it is.
        more = pa.array([[b"x"]] * len(urls), pa.list_(pa.binary_view()))
        pq.write_table(table.append_column("more", more), file)
    return known


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["dictionary", "large", "view", "binary", "null", "none"])
def test_urls_of_metadata_may_have_any_type_of_text(tmp_path, kind):
    pool = write_metadata(tmp_path / "pool", [60, 60])
    known = of_type(kind, pool)
    pipeline.run(parse_config(metadata_config(pool, tmp_path / "run")), Silent())
    run = Store(str(tmp_path / "run"))
    export(run, "parquet", str(tmp_path / "out"))
    rows = pa.concat_tables(pq.read_table(file) for file in (tmp_path / "out").glob("*.parquet")).to_pylist()
    assert {row["uid"]: row["url"] for row in rows} == {uid: known[uid] for uid in kept_of(run)}
    export(run, "datacomp", str(tmp_path / "again"), Options(embeddings=True))
    again = pa.concat_tables(pq.read_table(file) for file in (tmp_path / "again").glob("*.parquet"))
    assert sorted(again["uid"].to_pylist()) == sorted(kept_of(run))
    assert again["more"].to_pylist() == [[b"x"]] * len(again)


@pytest.mark.parametrize(
    ("columns", "said"), [(2, "has 2 columns url"), (1, "column url holds struct<a: int64>, not text")]
)
def test_urls_that_are_no_text_are_refused_with_the_option_to_leave_them_out(tmp_path, columns, said):
    pool = write_metadata(tmp_path / "pool", [60])
    (file,) = pool.glob("*.parquet")
    table = pq.read_table(file)
    other = pa.array([{"a": 1}] * len(table))
    place = table.column_names.index("url")
    table = table.append_column("url", other) if columns == 2 else table.set_column(place, "url", other)
    pq.write_table(table, file)
    pipeline.run(parse_config(metadata_config(pool, tmp_path / "run")), Silent())
    run = Store(str(tmp_path / "run"))
    with pytest.raises(InputError, match=re.escape(f"{file}: {said}; give --no-urls")):
        export(run, "parquet", str(tmp_path / "out"))
    assert export(run, "parquet", str(tmp_path / "rest"), Options(no_urls=True))["kept"] == len(kept_of(run))
