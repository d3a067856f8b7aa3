import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pools import member, members, metadata_config, tar_bytes, tar_config, write_metadata, write_tar

from filtering.core import schemas
from filtering.core.errors import InputError
from filtering.manifests.verify import problems
from filtering.storage.store import Store


def table(run, kind):
    return pa.concat_tables([pq.read_table(path) for path in sorted((run / "manifest" / kind).glob("*.parquet"))])


def reasons(run, kind="quarantined"):
    return sorted(table(run, kind)["reason"].to_pylist())


def test_a_run_over_tars_leaves_everything_the_interface_names(tar_run, tar_pool):
    out, record = tar_run, json.loads((tar_run / "run.json").read_text())
    assert record["totals"] == {"input": 60, "kept": 30, "dropped": 30, "quarantined": 0}
    assert {"run_id", "config", "config_hash", "versions", "stages", "recall", "manifest_hash"} <= record.keys()
    assert [stage["name"] for stage in record["stages"]][-4:] == [
        "selection",
        "measures",
        "manifests",
        "report",
    ]
    assert all({"name", "seconds", "peak_memory_bytes"} <= stage.keys() for stage in record["stages"])
    assert record["recall"] > 0.9
    lines = [json.loads(line) for line in (out / "manifest/shards.jsonl").read_text().splitlines()]
    assert [line["url"] for line in lines] == [str(tar_pool / f"{shard:08d}.tar") for shard in range(3)]
    assert all(line["samples"] == line["kept"] + line["dropped"] + line["quarantined"] for line in lines)
    assert [pq.read_metadata(out / line["keys"]).num_rows for line in lines] == [line["kept"] for line in lines]
    assert "<html" in (out / "report/index.html").read_text()
    assert list(problems(Store(str(out)))) == []


def test_the_subset_file_is_what_datacomp_reads(run, metadata_pool, tmp_path):
    run(metadata_config(metadata_pool, tmp_path / "run"))
    subset = np.load(tmp_path / "run/manifest/subset.npy")
    kept = table(tmp_path / "run", "kept")
    assert subset.dtype == np.dtype([("f0", "<u8"), ("f1", "<u8")])
    assert np.array_equal(subset, np.sort(subset))
    expected = {(int(uid[:16], 16), int(uid[16:], 16)) for uid in kept["uid"].to_pylist()}
    assert {(int(first), int(last)) for first, last in subset} == expected
    assert len(subset) == int(1100 * 0.3)


def test_the_tables_have_the_agreed_columns(run, metadata_pool, tmp_path):
    run(metadata_config(metadata_pool, tmp_path / "run"))
    assert table(tmp_path / "run", "kept").schema == schemas.KEPT
    assert table(tmp_path / "run", "dropped").schema == schemas.DROPPED
    assert table(tmp_path / "run", "quarantined").schema == schemas.QUARANTINED


def test_ranks_are_the_greedy_order_inside_each_concept(run, metadata_pool, tmp_path):
    run(metadata_config(metadata_pool, tmp_path / "run"))
    kept = table(tmp_path / "run", "kept")
    ranks: dict[int, list[int]] = {}
    for concept, rank in zip(kept["concept"].to_pylist(), kept["rank"].to_pylist(), strict=True):
        ranks.setdefault(concept, []).append(rank)
    assert all(sorted(found) == list(range(len(found))) for found in ranks.values())


@pytest.mark.slow
def test_a_smaller_budget_is_a_prefix_of_a_larger_one(run, metadata_pool, tmp_path):
    small = metadata_config(metadata_pool, tmp_path / "small", selection={"variant": "paper", "keep": 0.2})
    large = metadata_config(metadata_pool, tmp_path / "large", selection={"variant": "paper", "keep": 0.4})
    run(small)
    run(large)
    few, many = (set(table(tmp_path / name, "kept")["uid"].to_pylist()) for name in ("small", "large"))
    assert few < many


@pytest.mark.slow
def test_partitions_change_nothing_but_where_rows_lie(run, metadata_pool, tmp_path):
    config = metadata_config(metadata_pool, tmp_path / "many")
    many = run(config)
    one = run(config | {"output": str(tmp_path / "one"), "concepts": {"clusters": 12, "partition_rows": 100_000}})
    assert many["graph"]["partitions"] > 1 == one["graph"]["partitions"]
    assert many["manifest_hash"] == one["manifest_hash"]


@pytest.mark.slow
def test_selection_knobs_rerun_selection_alone(run, metadata_pool, tmp_path):
    config = metadata_config(metadata_pool, tmp_path / "run")
    first = run(config)
    again = run(config | {"selection": {"gamma_reverse": 0.2}})
    ran = [stage["name"] for stage in again["stages"] if not stage.get("reused")]
    assert ran == ["selection", "measures", "manifests", "report"]
    assert again["manifest_hash"] != first["manifest_hash"]
    back = run(config)
    assert back["manifest_hash"] == first["manifest_hash"]
    assert list(problems(Store(str(tmp_path / "run")))) == []


@pytest.mark.slow
def test_a_new_score_reruns_scores_and_selection(run, metadata_pool, tmp_path):
    config = metadata_config(metadata_pool, tmp_path / "run")
    run(config)
    again = run(config | {"selection": {"score": "uniform"}})
    assert [stage["name"] for stage in again["stages"] if not stage.get("reused")] == [
        "scores",
        "selection",
        "measures",
        "manifests",
        "report",
    ]


def test_a_finished_run_is_only_read_again(run, metadata_pool, tmp_path):
    config = metadata_config(metadata_pool, tmp_path / "run")
    first = run(config)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run/manifest").rglob("*.parquet")}
    assert run(config)["manifest_hash"] == first["manifest_hash"]
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "run/manifest").rglob("*.parquet")}


@pytest.mark.slow
def test_every_broken_sample_is_accounted_for(run, tmp_path):
    pool = tmp_path / "pool"
    pool.mkdir()
    interleaved = members(4, 6)
    whole = {
        0: members(0, 6),
        3: members(3, 6) + member("000030000002", 99),
        4: interleaved[0::3] + interleaved[1::3] + interleaved[2::3],
        5: members(5, 6)[:-1],
        6: [*members(6, 6), ("000060000099.jpg", b"no image"), ("000060000099.txt", b"broken")],
        7: members(7, 6) + member("000070000099", 99, b"\xff\xfe\x00"),
        8: members(8, 6) + [(f"000080000077.v1.{name.rpartition('.')[2]}", data) for name, data in member("x", 98)],
        9: [],
    }
    for shard, parts in whole.items():
        write_tar(pool / f"{shard:08d}.tar", parts)
    (pool / "00000001.tar").write_bytes(tar_bytes(members(1, 6))[:9000])
    (pool / "00000002.tar").write_bytes(b"")
    record = run(tar_config(pool, tmp_path / "run"))
    assert reasons(tmp_path / "run") == sorted(
        ["truncated_tar", "empty_shard", "duplicate_key", "missing_caption", "image_undecodable", "caption_not_utf8"]
    )
    lines = [json.loads(line) for line in (tmp_path / "run/manifest/shards.jsonl").read_text().splitlines()]
    usable = [line["kept"] + line["dropped"] for line in lines]
    assert usable[0] == usable[3] == usable[4] == usable[6] == usable[7] == 6
    assert (usable[2], usable[5], usable[8], usable[9]) == (0, 5, 7, 0)
    assert record["totals"]["input"] == sum(line["samples"] for line in lines)
    keys = table(tmp_path / "run", "kept")["key"].to_pylist() + table(tmp_path / "run", "dropped")["key"].to_pylist()
    assert "000080000077" in keys
    assert list(problems(Store(str(tmp_path / "run")))) == []


def test_a_pool_of_nothing_ends_well(run, tmp_path):
    pool = tmp_path / "pool"
    pool.mkdir()
    (pool / "00000000.tar").write_bytes(b"")
    record = run(tar_config(pool, tmp_path / "run"))
    assert record["totals"] == {"input": 1, "kept": 0, "dropped": 0, "quarantined": 1}
    assert record["warnings"]
    assert list(problems(Store(str(tmp_path / "run")))) == []


def test_bad_metadata_rows_are_quarantined(run, tmp_path):
    pool = write_metadata(tmp_path, [50, 40, 30])
    first, second, third = sorted(tmp_path.glob("*.parquet"))
    arrays = dict(np.load(first.with_suffix(".npz")))
    arrays["l14_img"][3] = np.nan
    arrays["l14_txt"][4] = 0
    np.savez(first.with_suffix(".npz"), **arrays)
    rows = pq.read_table(first).to_pydict()
    rows["uid"][5] = "not a uid"
    rows["uid"][7] = rows["uid"][6]
    pq.write_table(pa.table(rows), first)
    second.with_suffix(".npz").write_bytes(b"no archive")
    np.savez(third.with_suffix(".npz"), l14_img=np.ones((3, 32), np.float16), l14_txt=np.ones((3, 32), np.float16))
    lost = sum(pq.read_metadata(path).num_rows for path in (second, third))
    record = run(metadata_config(pool, tmp_path / "run"))
    found = record["reasons"]["quarantined"]
    assert sum(count for reason, count in found.items() if reason.startswith("arrays_")) == lost
    rest = {reason: count for reason, count in found.items() if not reason.startswith("arrays_")}
    assert rest == {"uid_conflict": 1, "embedding_not_finite": 1, "embedding_zero": 1, "uid_malformed": 1}
    assert list(problems(Store(str(tmp_path / "run")))) == []


@pytest.mark.slow
def test_filters_drop_with_their_own_reason(run, metadata_pool, tmp_path):
    filters = [{"caption": {"min_words": 5}}, {"clip_score": {"keep": 0.5}}]
    record = run(metadata_config(metadata_pool, tmp_path / "a", filters=filters))
    assert record["reasons"]["dropped"]["filter:clip_score"] == 1100 - 551
    filters = [{"caption": {"min_words": 6}}]
    record = run(metadata_config(metadata_pool, tmp_path / "b", filters=filters))
    assert record["reasons"]["dropped"] == {"filter:caption": 1100}
    assert record["totals"]["kept"] == 0


@pytest.fixture(scope="module")
def reselected(tmp_path_factory):
    """One output for all selections: the graph is built once."""
    return tmp_path_factory.mktemp("reselected") / "run"


@pytest.mark.slow
@pytest.mark.parametrize("budget", ["proportional", "uniform", "complexity"])
@pytest.mark.parametrize("method", ["d2", "random", "top"])
def test_every_method_and_budget_keeps_exactly_what_is_asked(run, metadata_pool, reselected, method, budget):
    selection = {"method": method, "budget": budget, "keep": 123}
    record = run(metadata_config(metadata_pool, reselected, selection=selection))
    assert record["totals"]["kept"] == 123
    assert list(problems(Store(str(reselected)))) == []


def test_asking_for_more_than_there_is_keeps_all_and_warns(run, metadata_pool, tmp_path):
    record = run(metadata_config(metadata_pool, tmp_path / "run", selection={"variant": "paper", "keep": 5000}))
    assert record["totals"]["kept"] == 1100
    assert any("5,000" in warning for warning in record["warnings"])


def test_a_score_of_ones_own_is_joined_by_uid(run, metadata_pool, tmp_path):
    uids = [uid for path in metadata_pool.glob("*.parquet") for uid in pq.read_table(path)["uid"].to_pylist()]
    loved = set(sorted(uids)[:10])
    scores = {"uid": uids[::-1], "mine": [float(uid in loved) for uid in uids[::-1]]}
    pq.write_table(pa.table(scores), tmp_path / "scores.parquet")
    selection = {"method": "top", "keep": 0.3, "score": {"table": str(tmp_path / "scores.parquet"), "column": "mine"}}
    run(metadata_config(metadata_pool, tmp_path / "run", selection=selection))
    assert loved <= set(table(tmp_path / "run", "kept")["uid"].to_pylist())


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"selection": {"method": "d3"}}, "selection.method: unknown selector d3"),
        ({"selection": {"budget": "uniforme"}}, "did you mean uniform?"),
        ({"selection": {"score": "clip_scor"}}, "did you mean clip_score?"),
        ({"selection": {"score": {"table": "/nowhere.parquet", "column": "x"}}}, "/nowhere.parquet cannot be read"),
        ({"input": {"metadata": "/nowhere/*.parquet"}}, "/nowhere/*.parquet"),
        ({"input": {"shards": []}}, "input.shards: names no shard"),
        ({"output": "/proc/nowhere"}, "output: /proc/nowhere cannot be written"),
        ({"input": {"shards": "/nowhere/{0..3}.tar"}}, "/nowhere/0.tar is not there (and 3 more)"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_written(run, metadata_pool, tmp_path, sections, message):
    with pytest.raises(InputError) as refused:
        run(metadata_config(metadata_pool, tmp_path / "run") | sections)
    # A line for each mistake; some of these pools are of tars, for which no model is named.
    first, *others = str(refused.value).split("\n")
    assert message in first
    assert all(line.startswith("embedding.pretrained: is missing") for line in others)
    assert not (tmp_path / "run").exists()


def test_a_model_that_does_not_load_is_refused_in_one_line(run, tar_pool, tmp_path):
    (tmp_path / "broken.pt").write_bytes(b"no weights")
    model = {"model": "RN50", "pretrained": str(tmp_path / "broken.pt")}
    with pytest.raises(InputError, match="is neither a file of"):
        run(tar_config(tar_pool, tmp_path / "run") | {"embedding": model})


def test_a_gpu_that_is_not_there_is_refused(run, tar_pool, tmp_path):
    with pytest.raises(InputError, match="torch sees no GPU"):
        run(tar_config(tar_pool, tmp_path / "run") | {"embedding": {"model": "demo", "device": "cuda"}})


def test_a_missing_array_is_refused_with_the_names_there_are(run, metadata_pool, tmp_path):
    source = {"metadata": f"{metadata_pool}/*.parquet", "arrays": {"image": "l14", "text": "l14_txt"}}
    with pytest.raises(InputError, match="has no array l14; it has"):
        run(metadata_config(metadata_pool, tmp_path / "run") | {"input": source})
