import pytest

from filtering.config.run import load_config
from filtering.core.errors import InputError


@pytest.mark.parametrize(
    ("override", "keys", "value"),
    [
        ("graph.k=5", ("graph", "k"), 5),
        ("selection.keep=0.5", ("selection", "keep"), 0.5),
        ("selection.keep=500", ("selection", "keep"), 500),
        ("selection.gamma_reverse=0", ("selection", "settings", "gamma_reverse"), 0.0),
        ("concepts.clusters=7", ("concepts", "clusters"), 7),
        ("concepts.clusters=auto", ("concepts", "clusters"), "auto"),
        ("embedding.pretrained=null", ("embedding", "pretrained"), None),
        ("output=s3://bucket/run=1", ("output",), "s3://bucket/run=1"),
        ("input.shards=[a.tar, b.tar]", ("input", "shards"), ("a.tar", "b.tar")),
        ("input.shards=x/{00..03}.tar", ("input", "shards"), "x/{00..03}.tar"),
        ("input.arrays.image=b32_img", ("input", "arrays", "image"), "b32_img"),
        ("selection.score.column=quality", ("selection", "score", "column"), "quality"),
    ],
)
def test_overrides(smallest_file, override, keys, value):
    extra = ["selection.score.table=t.parquet"] if "column" in keys else []
    found = load_config(smallest_file, [*extra, override])
    for key in keys:
        found = getattr(found, key)
    assert found == value
    assert type(found) is type(value)


def test_lists_of_filters_by_override(smallest_file):
    config = load_config(smallest_file, ["filters=[{caption: {min_words: 2}}, {clip_score: {keep: 0.5}}]"])
    assert config.filters[0].caption.min_words == 2
    assert config.filters[1].clip_score.keep == 0.5


def test_the_last_override_wins(smallest_file):
    assert load_config(smallest_file, ["graph.k=5", "graph={k: 6}", "graph.k=7"]).graph.k == 7


@pytest.mark.parametrize(
    "override", ["graph.k", "=5", "", "output.x=1", "filters.0.caption=1", "graph.k=[", "graph.k={a"]
)
def test_broken_overrides_are_refused(smallest_file, override):
    extra = ["filters=[]"] if override.startswith("filters") else []
    with pytest.raises(InputError, match="--set") as refused:
        load_config(smallest_file, [*extra, override])
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "content",
    [b"", b"- a\n- b\n", b"just text", b"a: [1, 2", b"\xff\xfe\x00", b"a: !!python/object:os.system x\n", b"[" * 5000],
)
def test_files_that_hold_no_configuration_are_refused(tmp_path, content):
    path = tmp_path / "run.yaml"
    path.write_bytes(content)
    with pytest.raises(InputError) as refused:
        load_config(str(path))
    assert str(path) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        load_config(str(tmp_path / "none.yaml"))
    with pytest.raises(InputError, match="cannot be read"):
        load_config(str(tmp_path))
