import json

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from pools import Silent, members, metadata_config, tar_config, write_metadata, write_tar

from filtering import explain, open_run
from filtering.config.filters import Filter
from filtering.config.run import parse_config
from filtering.core.errors import InputError
from filtering.core.schemas import field_type
from filtering.filters.judging import Rule
from filtering.pipeline.incremental import run as run_incremental
from filtering.pipeline.run import check, run
from filtering.planning.plan import plan

BOX, WHOLE = [0.0, 0.0, 0.5, 0.5], [-1.0, 0.0, 2.0, 1.0]


def passing(filter_, name, cells):
    rows = pa.table({f"field:{name}": pa.array(cells, field_type(name))})
    return Rule(Filter.model_validate(filter_)).passes(rows).tolist()


def test_numbers_pass_within_bounds():
    cells = [0.1, 0.5, 0.9, None]
    assert passing({"column": {"name": "a", "max": 0.5}}, "a", cells) == [True, True, False, True]
    assert passing({"column": {"name": "a", "min": 0.5, "missing": "drop"}}, "a", cells) == [False, True, True, False]
    assert passing({"column": {"name": "a", "min": 0.2, "max": 0.6}}, "a", cells) == [False, True, False, True]


def test_faces_pass_by_their_number_and_their_share():
    cells = [[], [BOX], [BOX, BOX], [WHOLE], None]
    assert passing({"faces": {"max": 0}}, "face_bboxes", cells) == [True, False, False, False, True]
    assert passing({"faces": {"max": 1}}, "face_bboxes", cells) == [True, True, False, True, True]
    assert passing({"faces": {"max_share": 0.25}}, "face_bboxes", cells) == [True, True, False, False, True]
    assert passing({"faces": {"max": 1, "max_share": 0.5}}, "face_bboxes", cells) == [True, True, False, False, True]
    assert passing({"faces": {"max": 1}}, "face_bboxes", []) == []


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (
            {"column": {"name": "a"}},
            r"filters\.0\.column: give min or max or both, such as \{name: punsafe, max: 0\.5\}",
        ),
        ({"column": {"max": 1}}, r"filters\.0\.column\.name: is missing; it must be the name of a field"),
        ({"faces": {}}, r"filters\.0\.faces: give max or max_share or both"),
    ],
)
def test_filters_without_bounds_are_refused(given, line):
    with pytest.raises(InputError, match=line):
        parse_config({"input": {"shards": "x"}, "output": "y", "filters": [given]})


def test_a_filter_whose_field_is_not_taken_is_refused(tar_pool, tmp_path):
    for filter_, name in (
        ({"column": {"name": "punsafe", "max": 1}}, "punsafe"),
        ({"faces": {"max": 1}}, "face_bboxes"),
    ):
        config = tar_config(tar_pool, tmp_path / "run", filters=[filter_])
        with pytest.raises(InputError, match=rf": reads {name}, .* set input\.fields to \[{name}\]$"):
            check(parse_config(config))


def with_fields(parts, **fields):
    """The members of samples whose JSON has more fields: each a list with a value for each sample, None for none."""
    found, at = [], 0
    for name, data in parts:
        if name.endswith(".json"):
            more = {key: values[at] for key, values in fields.items() if values[at] is not None}
            data, at = json.dumps({**json.loads(data), **more}).encode(), at + 1
        found.append((name, data))
    return found


@pytest.fixture
def tars(tmp_path):
    unsafe, faces = [row / 20 for row in range(20)], [[BOX] * (row % 3) for row in range(20)]
    unsafe[3] = faces[4] = None
    (tmp_path / "pool").mkdir()
    write_tar(tmp_path / "pool/00000000.tar", with_fields(members(0, 20), punsafe=unsafe, face_bboxes=faces))
    return tmp_path / "pool"


def configured(pool, output, **more):
    config = tar_config(pool, output, selection={"method": "all"})
    return parse_config({**config, "input": {**config["input"], "fields": ["punsafe", "face_bboxes"]}, **more})


def dropped(output, name):
    table = open_run(str(output)).dropped().to_table()
    return set(table.filter(pc.equal(table["reason"], f"filter:{name}"))["key"].to_pylist())


def test_a_run_over_tars_drops_by_the_fields_of_json(tars, tmp_path):
    filters = [{"column": {"name": "punsafe", "max": 0.5}}, {"faces": {"max": 1}}]
    record = run(configured(tars, tmp_path / "run", filters=filters), Silent())
    assert dropped(tmp_path / "run", "column") == {f"{row:012d}" for row in range(11, 20)}
    assert dropped(tmp_path / "run", "faces") == {f"{row:012d}" for row in (2, 5, 8)}
    assert "filters.column: 1 of 20 samples have no number as punsafe; see missing" in record["warnings"]
    assert "filters.faces: 1 of 20 samples have no face_bboxes, and pass" in record["warnings"]
    told = explain(str(tmp_path / "run"), f"{15:012d}")["filter"]
    assert (told["asks"], told["has"]) == ({"name": "punsafe", "max": 0.5}, {"punsafe": 0.75})
    assert explain(str(tmp_path / "run"), f"{5:012d}")["filter"]["has"] == {"faces": 2, "share": 0.5}


def test_a_plan_counts_what_passes_by_fields(tars, tmp_path):
    config = configured(tars, tmp_path / "run", filters=[{"faces": {"max": 1}}])
    assert plan(config, check(config))["passing"] == 14


@pytest.fixture
def metadata(tmp_path):
    pool = write_metadata(tmp_path / "metadata", [120, 90])
    for number, path in enumerate(sorted(pool.glob("*.parquet"))):
        table = pq.read_table(path)
        values = np.random.default_rng(number).random(len(table))
        pq.write_table(table.append_column("punsafe", pa.array(values)), path)
    return pool


def unsafe(pool):
    tables = [pq.read_table(path, columns=["uid", "punsafe"]) for path in pool.glob("*.parquet")]
    return dict(zip(*pa.concat_tables(tables).to_pydict().values(), strict=True))


def of_rows(pool, output, **more):
    config = metadata_config(pool, output, concepts={"clusters": 4}, selection={"method": "all"})
    return parse_config({**config, "input": {**config["input"], "fields": ["punsafe"]}, **more})


def test_a_run_over_tables_drops_by_their_columns_also_incrementally(metadata, tmp_path):
    filters = [{"column": {"name": "punsafe", "max": 0.5}}]
    config = of_rows(metadata, tmp_path / "run", filters=filters)
    record = run(config, Silent())
    expected = {uid for uid, value in unsafe(metadata).items() if value > 0.5}
    table = open_run(str(tmp_path / "run")).dropped().to_table()
    assert set(table["uid"].to_pylist()) == expected
    assert plan(config, check(config))["passing"] == pytest.approx(210 - len(expected), abs=15)
    write_metadata(metadata, [50], seed=1)
    with_column = of_rows(metadata, tmp_path / "next", filters=filters, base=str(tmp_path / "run"))
    following = run_incremental(with_column, Silent())
    # The new table has no such column.
    assert "filters.column: 50 of 260 samples have no number as punsafe; see missing" in following["warnings"]
    assert following["totals"]["dropped"] == record["totals"]["dropped"] == len(expected)


def test_a_score_may_be_a_column_of_the_pool(metadata, tmp_path):
    selection = {
        "method": "top",
        "keep": 60,
        "budget": "pool",
        "score": {"column": {"name": "punsafe", "keep": "lower"}},
    }
    run(of_rows(metadata, tmp_path / "run", selection=selection), Silent())
    kept = open_run(str(tmp_path / "run")).kept().to_table()
    values = unsafe(metadata)
    assert set(kept["uid"].to_pylist()) == set(sorted(values, key=values.__getitem__)[:60])
    assert np.allclose(kept["score"].to_numpy(), [-values[uid] for uid in kept["uid"].to_pylist()])


def test_a_score_needs_a_value_of_every_sample(tars, tmp_path):
    def score(**more):
        selection = {"method": "top", "keep": 5, "score": {"column": {"name": "punsafe", **more}}}
        return run(configured(tars, tmp_path / "run", selection=selection), Silent())

    with pytest.raises(
        Exception, match=r"selection\.score: column: 1 of 20 samples of a shard have no punsafe; give miss"
    ):
        score()
    assert score(missing=0.99)["totals"]["kept"] == 5


@pytest.mark.parametrize("name", ["blur", "luminance", "entropy"])
def test_a_signal_is_a_score_by_its_name(tar_pool, tmp_path, name):
    embedding = {"model": "demo", "batch_size": 8, "signals": [name]}
    selection = {"method": "top", "keep": 9, "budget": "pool", "score": name}
    run(parse_config(tar_config(tar_pool, tmp_path / "run", embedding=embedding, selection=selection)), Silent())
    (folder,) = (path for path in (tmp_path / "run/stages").glob("embedding-*") if path.is_dir())
    every = np.concatenate([pq.read_table(path)[name].to_numpy() for path in folder.glob("*.signals.parquet")])
    kept = open_run(str(tmp_path / "run")).kept().to_table()["score"].to_numpy()
    assert np.allclose(np.sort(kept), np.sort(every)[-9:])


def test_scores_whose_signal_or_field_is_missing_are_refused(tar_pool, metadata_pool, tmp_path):
    def refused(config, score):
        with pytest.raises(InputError) as error:
            check(parse_config({**config, "selection": {"method": "top", "score": score}}))
        return str(error.value)

    tars, rows = tar_config(tar_pool, tmp_path / "run"), metadata_config(metadata_pool, tmp_path / "run")
    parts = {"combine": {"of": [{"score": "blur"}]}}
    for score in ("blur", parts):
        assert refused(tars, score).startswith(
            "selection.score: blur: reads blur, which is not computed; set embedding."
        )
    assert refused(rows, "blur").endswith(
        "blur: reads blur of pictures, and the rows of this pool have none; give tars"
    )
    assert refused(rows, {"column": {"name": "a"}}).endswith("not among input.fields; set input.fields to [a]")


def test_runs_without_columns_keep_their_digests():
    from filtering.config.scores import Combine

    of = Combine.model_validate({"of": [{"score": {"neg_clip_loss": {}}}]}).model_dump(mode="json")
    assert "column" not in of["of"][0]["score"]
    assert set(Filter.model_validate({"image": {}}).model_dump()) == {
        *("caption", "image", "language", "words", "clip_score", "exclude")
    }


def test_what_can_be_no_number_is_refused(tars, tmp_path):
    def lines(**sections):
        source = {"shards": str(tars), "fields": ["punsafe", "face_bboxes"]}
        with pytest.raises(InputError) as refused:
            check(parse_config(tar_config(tars, tmp_path / "run") | {"input": source, **sections}))
        return str(refused.value)

    boxes = "are boxes of faces, and no number; use the filter faces"
    assert boxes in lines(filters=[{"column": {"name": "face_bboxes", "max": 0}}])
    assert boxes in lines(selection={"method": "top", "score": {"column": {"name": "face_bboxes", "missing": 0}}})
    assert lines(filters=[{"column": {"name": "pusafe", "max": 1}}]).endswith("did you mean punsafe?")


def test_a_score_needs_values_only_of_what_passes_the_filters(tars, tmp_path):
    filters = [{"column": {"name": "punsafe", "max": 1.0, "missing": "drop"}}]
    selection = {"method": "top", "keep": 3, "score": {"column": {"name": "punsafe"}}}
    record = run(configured(tars, tmp_path / "run", filters=filters, selection=selection), Silent())
    assert record["totals"]["kept"] == 3


def test_a_name_that_no_sample_has_is_refused(tars, tmp_path):
    source = {"shards": str(tars), "fields": ["pusafe"]}
    config = tar_config(tars, tmp_path / "run", filters=[{"column": {"name": "pusafe", "max": 1.0}}]) | {
        "input": source
    }
    with pytest.raises(
        InputError, match=r"^filters\.column: none of 20 samples has a number as pusafe; correct the name"
    ):
        run(parse_config(config), Silent())
