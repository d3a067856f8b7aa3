import io

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from PIL import Image, ImageDraw, ImageFilter, ImageFont
from pools import Silent, member, members, metadata_config, photo, tar_config, write_tar

from filtering import explain, open_run
from filtering.config.filters import Filter
from filtering.config.run import parse_config
from filtering.core.errors import InputError
from filtering.filters.judging import Rule
from filtering.pipeline.incremental import run as run_incremental
from filtering.pipeline.run import check, run
from filtering.planning.plan import plan


def passing(filter_, **columns):
    return Rule(Filter.model_validate(filter_)).passes(
        pa.table({name: pa.array(values, pa.float32()) for name, values in columns.items()})
    )


def test_pictures_pass_that_reach_the_least_value():
    assert passing({"blur": {}}, blur=[0.28, 0.29, 0.3]).tolist() == [False, True, True]
    assert passing({"entropy": {"min": 0.5}}, entropy=[0.49, 0.5]).tolist() == [False, True]
    assert passing({"luminance": {}}, dark=[0.31, 0.32, 1], light=[1, 0.05, 0.04]).tolist() == [False, True, False]


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"blur": {"min": 2}}, r"filters\.0\.blur\.min: 2 is not valid; it must be the least score"),
        ({"hash_duplicates": {"distance": 5}}, r"filters\.0\.hash_duplicates\.distance: 5 is not valid"),
        ({"hash_duplicates": {"by": "pixel_hash", "distance": 2}}, r"filters\.0\.hash_duplicates: distance is that of"),
    ],
)
def test_bounds_that_make_no_sense_are_refused(given, line):
    with pytest.raises(InputError, match=line):
        parse_config({"input": {"shards": "x"}, "output": "y", "filters": [given]})


@pytest.mark.parametrize(("filter_", "signal"), [("blur", "blur"), ("hash_duplicates", "phash")])
def test_a_filter_whose_signal_is_not_computed_is_refused(tar_pool, metadata_pool, tmp_path, filter_, signal):
    embedding = {"model": "demo", "signals": ["entropy"]}
    config = tar_config(tar_pool, tmp_path / "run", filters=[{filter_: {}}], embedding=embedding)
    listed = ", ".join(sorted(["entropy", signal]))
    with pytest.raises(InputError, match=rf"^filters\.{filter_}: reads {signal}, .* embedding.signals to \[{listed}\]"):
        check(parse_config(config))
    rows = metadata_config(metadata_pool, tmp_path / "run", filters=[{filter_: {}}])
    with pytest.raises(InputError, match=rf"^filters\.{filter_}: reads {signal} of pictures, .* give tars$"):
        check(parse_config(rows))


def jpeg(image, quality=90):
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def named(key, image):
    (_, _), *rest = member(key)
    return [(f"{key}.jpg", image), *rest]


PHOTOS = {seed: Image.open(io.BytesIO(photo(320, 240, seed))) for seed in range(6)}


def sharp(seed):
    """A picture with edges, whose values are spread, as CleanVision wants it."""
    return Image.fromarray(np.asarray(PHOTOS[seed].resize((40, 30)).resize((320, 240), Image.Resampling.NEAREST)))


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """A pool with a copy, an exact copy, a blurred, a black and a white picture, and a plain one in two shards."""
    folder = tmp_path_factory.mktemp("planted")
    first = [*named("a0", jpeg(sharp(0))), *named("a1", jpeg(sharp(1))), *named("a2", jpeg(sharp(2)))]
    copy = jpeg(sharp(1).resize((240, 180), Image.Resampling.NEAREST), 80)
    blurred = jpeg(PHOTOS[3].filter(ImageFilter.GaussianBlur(10)))
    second = [
        *named("b0", copy),
        *named("b1", jpeg(sharp(2))),
        *named("b2", blurred),
        *named("b3", jpeg(sharp(4).point(lambda value: value // 8))),
        *named("b4", jpeg(sharp(5).point(lambda value: 250 + value // 60))),
        *named("b5", jpeg(Image.new("RGB", (300, 200), (120, 130, 140)))),
    ]
    write_tar(folder / "00000000.tar", [*first, *members(0, 30)])
    write_tar(folder / "00000001.tar", [*second, *members(1, 20)])
    return folder


SIGNALS = ["phash", "pixel_hash", "blur", "luminance", "entropy"]


def configured(pool, output, filters, **more):
    embedding = {"model": "demo", "batch_size": 8, "signals": SIGNALS}
    return parse_config(
        tar_config(pool, output, filters=filters, embedding=embedding, selection={"method": "all"}) | more
    )


def dropped(output, name):
    table = open_run(str(output)).dropped().to_table()
    return set(table.filter(pc.equal(table["reason"], f"filter:{name}"))["key"].to_pylist())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("filter_", "expected"),
    [
        ({"hash_duplicates": {}}, {"b0", "b1"}),
        ({"hash_duplicates": {"by": "pixel_hash"}}, {"b1"}),
        ({"luminance": {}}, {"b3", "b4"}),
        ({"entropy": {}}, {"b5"}),
    ],
)
def test_a_run_drops_the_pictures_that_were_planted(planted, tmp_path, filter_, expected):
    (name,) = filter_
    record = run(configured(planted, tmp_path / "run", [filter_]), Silent())
    found = dropped(tmp_path / "run", name)
    assert {key for key in found if key[0] in "ab"} >= expected
    assert not {key for key in found if key[0] in "ab"} - expected - {"b2", "b4", "b5"}
    assert record["reasons"]["dropped"][f"filter:{name}"] == len(found)
    told = explain(str(tmp_path / "run"), min(expected))
    assert told["filter"]["filter"] == name
    read = {"luminance": {"dark", "light"}, "entropy": {"entropy"}}.get(name, {"uid"})
    assert set(told["filter"]["has"]) == read


def test_a_blurred_picture_is_dropped(planted, tmp_path):
    run(configured(planted, tmp_path / "run", [{"blur": {"min": 0.293}}]), Silent())
    found = dropped(tmp_path / "run", "blur")
    assert "b2" in found
    assert not found & {"a0", "a1", "a2"}


@pytest.mark.slow
def test_of_repeated_pictures_only_those_count_that_pass_the_filters_before(planted, tmp_path):
    (tmp_path / "list.txt").write_text("\n".join(uids(planted, tmp_path, {"a1"})))
    filters = [{"exclude": {"uids": str(tmp_path / "list.txt")}}, {"hash_duplicates": {}}]
    run(configured(planted, tmp_path / "run", filters), Silent())
    assert dropped(tmp_path / "run", "exclude") == {"a1"}
    assert not dropped(tmp_path / "run", "hash_duplicates") & {"b0"}


def uids(pool, tmp_path, keys):
    run(configured(pool, tmp_path / "keys", []), Silent())
    table = open_run(str(tmp_path / "keys")).kept().to_table()
    return [uid for uid, key in zip(table["uid"].to_pylist(), table["key"].to_pylist(), strict=True) if key in keys]


@pytest.mark.slow
def test_an_incremental_run_drops_what_a_full_run_drops(planted, tmp_path):
    for name in ("00000001.tar",):
        (tmp_path / "pool").mkdir()
        (tmp_path / "pool" / name).write_bytes((planted / name).read_bytes())
    pool, filters = tmp_path / "pool", [{"hash_duplicates": {}}, {"clip_score": {"keep": 0.9}}]
    run_incremental(configured(pool, tmp_path / "0", filters), Silent())
    assert not dropped(tmp_path / "0", "hash_duplicates") & {"b0", "b1"}
    # What comes now stands before the shard that is known: its pictures become the repeated ones.
    (pool / "00000000.tar").write_bytes((planted / "00000000.tar").read_bytes())
    run_incremental(configured(pool, tmp_path / "1", filters, base=str(tmp_path / "0")), Silent())
    run(configured(pool, tmp_path / "full", filters), Silent())
    assert {"b0", "b1"} <= dropped(tmp_path / "1", "hash_duplicates")
    for name in ("hash_duplicates", "clip_score"):
        assert dropped(tmp_path / "1", name) == dropped(tmp_path / "full", name)


def test_a_plan_counts_what_passes_by_signals(planted, tmp_path):
    config = configured(planted, tmp_path / "run", [{"luminance": {}}, {"hash_duplicates": {}}])
    found = plan(config, check(config))
    assert found["passing"] == found["rows"] - len({"b3", "b4"})


def test_pictures_with_much_text_are_dropped_and_text_is_a_score(tmp_path):
    (tmp_path / "pool").mkdir()
    image = PHOTOS[0].resize((640, 480))
    style = {"fill": "white", "font": ImageFont.load_default(64), "stroke_width": 2, "stroke_fill": "black"}
    for number in range(4):
        ImageDraw.Draw(image).text((30, 30 + 110 * number), "BUY NOW AND SAVE", **style)
    write_tar(tmp_path / "pool/00000000.tar", [*named("a0", jpeg(image)), *members(0, 12)])
    embedding = {"model": "demo", "batch_size": 8, "signals": ["text_share"]}
    filters, score = [{"text_share": {"max": 0.3}}], {"method": "top", "keep": 1.0, "score": "text_share"}
    config = tar_config(tmp_path / "pool", tmp_path / "run", embedding=embedding, selection=score)
    run(parse_config({**config, "filters": filters}), Silent())
    assert dropped(tmp_path / "run", "text_share") == {"a0"}
    run(parse_config(config), Silent())
    kept = open_run(str(tmp_path / "run")).kept().to_table().to_pylist()
    scores = {one["key"]: one["score"] for one in kept}
    assert min(scores, key=scores.__getitem__) == "a0"
    assert scores["a0"] < 0.7
