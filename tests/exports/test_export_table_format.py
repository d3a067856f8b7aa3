"""The table format: one row for each sample of the pool, whatever its status, with the columns that were asked for."""

import json
import shutil
from hashlib import sha256
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from in_process import export
from pools import Silent, member, members, picture, tar_config, write_tar

import filtering
from filtering.config.run import parse_config
from filtering.core.errors import InputError
from filtering.exports.options import Options
from filtering.pipeline import run as pipeline
from filtering.storage.store import Store

KINDS = ("kept", "dropped", "quarantined")


def parts(shard: int, at: int) -> list[tuple[str, bytes]]:
    """A sample: one of each shard has no caption, one a caption of one word, and one is that of the shard before."""
    number = 10 * shard + at
    uid = f"{9 if at == 9 else number:032x}"
    image, (name, _), caption = member(f"{number:09d}", 9 if at == 9 else number)
    described = {"uid": uid, "url": f"http://example.org/{number}"}
    found = [image, (name, json.dumps(described).encode())]
    text = {8: b"word", 9: b"a picture of nine"}.get(at, caption[1])
    return found if at == 7 else [*found, (caption[0], text)]


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Store:
    folder = tmp_path_factory.mktemp("table")
    for shard in range(2):
        (folder / f"pool/{shard}").mkdir(parents=True)
        write_tar(folder / f"pool/{shard}/00000000.tar", [part for at in range(10) for part in parts(shard, at)])
    config = tar_config([f"{folder}/pool/*/*.tar"], folder / "run", filters=[{"caption": {"min_words": 2}}])
    pipeline.run(parse_config(config), Silent())
    return Store(str(folder / "run"))


def rows_of(folder: Path) -> list[dict]:
    return [row for path in sorted(folder.glob("*.parquet")) for row in pq.read_table(path).to_pylist()]


def written(run: Store, out: Path, **options) -> list[dict]:
    export(run, "table", str(out), Options(**options))
    return rows_of(out)


def test_each_sample_of_the_pool_has_a_row_with_its_status(finished, tmp_path):
    rows = written(finished, tmp_path / "out", samples=1)
    run = filtering.open_run(finished.url)
    tables = {"kept": run.kept(), "dropped": run.dropped(), "quarantined": run.quarantined()}
    for kind in KINDS:
        mine = [row for row in rows if row["status"] == kind]
        theirs = tables[kind].to_table().to_pylist()
        assert [row["key"] for row in mine] == [row["key"] for row in theirs]
        assert [row["reason"] for row in mine] == [row.get("reason") for row in theirs]
        assert [row["uid"] for row in mine] == [row.get("uid") for row in theirs]
        assert [row["rank"] for row in mine] == [row.get("rank") for row in theirs]
    assert len(rows) == 20
    assert len(list((tmp_path / "out").glob("*.parquet"))) == 2
    assert {row["shard"] for row in rows} == {"0/00000000.tar", "1/00000000.tar"}
    assert {row["reason"] for row in rows} == {
        None,
        "filter:caption",
        "selection:d2",
        "missing_caption",
        "duplicate_uid",
    }


def test_what_is_asked_for_is_joined_for_kept_and_dropped_samples_alike(finished, tmp_path):
    names = "key,uid,url,caption,width,sha256,clip_score,concept,score,status,reason,shard_url,member,detail"
    rows = written(finished, tmp_path / "out", columns=names)
    assert list(rows[0]) == names.split(",")
    for row in rows:
        number = int(row["key"])
        if row["status"] == "quarantined":
            assert (row["uid"], row["url"], row["caption"], row["score"]) == (None,) * 4
            assert row["member"] and row["detail"]
            continue
        assert row["url"] == f"http://example.org/{number}"
        assert (row["width"], row["sha256"], row["uid"]) == (64, sha256(picture(number)).hexdigest(), f"{number:032x}")
        assert row["shard_url"].endswith(f"pool/{number // 10}/00000000.tar")
        assert (row["member"], row["detail"]) == (None, None)
        # What a filter dropped has no concept.
        assert (row["concept"] is None) == (row["reason"] == "filter:caption")
        assert row["score"] == row["clip_score"]


def test_a_status_has_its_own_columns(finished, tmp_path):
    totals = filtering.open_run(finished.url).summary["totals"]
    expected = {
        "kept": {"uid", "key", "shard", "status", "reason", "concept", "score", "rank"},
        "dropped": {"uid", "key", "shard", "status", "reason", "concept", "score"},
        "quarantined": {"key", "shard", "status", "reason"},
    }
    for kind in KINDS:
        rows = written(finished, tmp_path / kind, status=kind)
        assert len(rows) == totals[kind]
        assert {name for row in rows for name in row} == expected[kind]
        assert {row["status"] for row in rows} == {kind}
    # Sorted by scores, the kept ones of the table are those of the manifest.
    dropped = written(finished, tmp_path / "scores", status="dropped", columns="uid,clip_score")
    assert np.isfinite([row["clip_score"] for row in dropped]).all()


def test_files_say_which_run_and_which_selection_they_are_of(finished, tmp_path):
    record = finished.read_json("run.json")
    for form in ("table", "parquet"):
        export(finished, form, str(tmp_path / form))
        found = pq.read_schema(tmp_path / form / "00000000.parquet").metadata
        assert found[b"filtering.run_id"].decode() == record["run_id"]
        assert found[b"filtering.manifest_hash"].decode() == record["manifest_hash"]
        assert ds.dataset(tmp_path / form, format="parquet", exclude_invalid_files=True).count_rows()


WRONG = [
    (
        {"columns": "uid,captoin"},
        r"--columns: unknown column captoin; .* uid, key, .*caption.*; did you mean caption\?",
    ),
    ({"columns": "uid,,key"}, "--columns: unknown column ; the columns of this run are uid, key"),
    ({"columns": "uid,uid"}, "--columns: uid is given 2 times"),
    ({"columns": "sds"}, "no step of this run read the score sds; the scores of this run are clip_score"),
    ({"columns": "rank", "status": "dropped"}, "--columns: rank is not known of dropped samples"),
    ({"columns": "url", "status": "quarantined"}, "--columns: url is not known of quarantined samples"),
    ({"status": "droped"}, r"--status: unknown status droped; did you mean dropped\?"),
]


@pytest.mark.parametrize(("options", "message"), WRONG)
def test_wrong_columns_are_refused_before_anything_is_written(finished, tmp_path, options, message):
    with pytest.raises(InputError, match=message) as found:
        export(finished, "table", str(tmp_path / "out"), Options(**options))
    assert "\n" not in str(found.value)
    assert not (tmp_path / "out").exists()


def test_columns_that_an_older_version_did_not_note_are_refused(finished, tmp_path):
    run = Store(str(shutil.copytree(finished.url, tmp_path / "run")))
    for path in sorted((tmp_path / "run").glob("stages/embedding-*/*.rows.parquet")):
        store = Store(str(path.parent))
        store.write_table(path.name, store.read_table(path.name).drop_columns(["url", "sha256"]))
    with pytest.raises(InputError, match=r"--columns: .*00000000.tar has no url: an older version of filtering embed"):
        export(run, "table", str(tmp_path / "out"), Options(columns="uid,url"))
    assert written(run, tmp_path / "rest", columns="uid,caption")


def test_scores_of_a_run_are_columns(metadata_run, tmp_path):
    run = Store(str(metadata_run))
    record = run.read_json("run.json")
    rows = written(run, tmp_path / "out", columns="uid,status,score,clip_score")
    assert len(rows) == record["totals"]["input"]
    kept = pa.concat_tables(run.read_table(f"manifest/kept/{at:08d}.parquet") for at in range(2))
    scores = dict(zip(kept["uid"].to_pylist(), kept["score"].to_pylist(), strict=True))
    assert {row["uid"]: row["score"] for row in rows if row["status"] == "kept"} == scores
    assert all(row["score"] is not None for row in rows)


def test_a_pool_that_is_one_shard_has_its_base_name(tmp_path):
    (tmp_path / "pool").mkdir()
    write_tar(tmp_path / "pool/00000000.tar", [part for at in range(4) for part in parts(0, at)])
    pipeline.run(parse_config(tar_config(tmp_path / "pool", tmp_path / "run")), Silent())
    rows = written(Store(str(tmp_path / "run")), tmp_path / "out", columns="shard")
    assert rows == [{"shard": "00000000.tar"}] * 4


def test_signals_fields_and_scores_of_encoders_are_columns(tmp_path):
    (tmp_path / "pool").mkdir()
    found = members(0, 6)
    found[1] = ("000000000000.json", json.dumps({"punsafe": 0.25}).encode())
    write_tar(tmp_path / "pool" / "0.tar", found)
    embedding = {"signals": ["blur", "phash"], "encoders": {"same": {"model": "demo"}}}
    config = tar_config(tmp_path / "pool", tmp_path / "run", embedding=embedding)
    config["input"]["fields"] = ["punsafe"]
    pipeline.run(parse_config(config), Silent())
    names = "key,blur,phash,field:punsafe,clip_score,clip_score:same"
    rows = {row["key"]: row for row in written(Store(str(tmp_path / "run")), tmp_path / "out", columns=names)}
    assert [row["field:punsafe"] for row in rows.values()].count(None) == 5
    assert rows["000000000000"]["field:punsafe"] == 0.25
    assert all(0 <= row["blur"] <= 1 and row["phash"] >= 0 for row in rows.values())
    assert all(row["clip_score"] == row["clip_score:same"] for row in rows.values())
    with pytest.raises(
        InputError, match=r"unknown column blurr; .* phash, clip_score:same, field:punsafe.*did you mean blur\?"
    ):
        written(Store(str(tmp_path / "run")), tmp_path / "no", columns="blurr")
