import re
import time

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
    extra = ["selection.method=top", "selection.score.table=t.parquet"] if "column" in keys else []
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


@pytest.mark.slow
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


LAUGHS = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10))
MERGES = "a0: &a0 {x: 1}\n" + "".join(f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}]}}\n" for n in range(1, 10))


@pytest.mark.parametrize("content", [LAUGHS, MERGES, "output: &a [*a]", "output: &a {b: {c: *a}}"])
def test_anchors_that_stand_for_countless_values_are_refused_at_once(tmp_path, smallest_file, content):
    (tmp_path / "bomb.yaml").write_text(content)
    started = time.process_time()
    with pytest.raises(InputError) as refused:
        load_config(str(tmp_path / "bomb.yaml"))
    assert str(refused.value).startswith(f"{tmp_path}/bomb.yaml: its anchors stand for more than")
    with pytest.raises(InputError, match=r"^--set selection=.*: its anchors stand for more than"):
        load_config(smallest_file, ["selection={" + content.replace("\n", ", ") + "}"])
    assert time.process_time() - started < 2


def test_anchors_are_what_they_stand_for(tmp_path):
    (tmp_path / "run.yaml").write_text("input: {shards: [&a x.tar, *a]}\noutput: &b runs/b\nbase: *b\n")
    config = load_config(str(tmp_path / "run.yaml"))
    assert (config.input.shards, config.base) == (("x.tar", "x.tar"), "runs/b")


@pytest.mark.parametrize(
    "value",
    [
        "2026-99-99",
        "2026-01-01T25:00:00",
        "9" * 5000,
        "0x" + "f" * 5000,
        "0b" + "1" * 20_000,
        ":".join(["59"] * 3_000),
        "!!int x",
        "!!float x",
        "!!timestamp x",
        "!!bool x",
        '"\\ud800"',
        '"a\\0b"',
    ],
)
def test_a_value_that_cannot_be_read_is_refused_with_its_place(tmp_path, smallest_file, value):
    (tmp_path / "odd.yaml").write_text(f"output: x\ngraph:\n  k: {value}\n")
    with pytest.raises(InputError) as refused:
        load_config(str(tmp_path / "odd.yaml"))
    assert re.search(r"odd\.yaml: is not YAML \(.* line 3, column 6\b.*\)$", str(refused.value))
    with pytest.raises(InputError, match=r"^--set graph\.k=.{1,350}: the value is not YAML$"):
        load_config(smallest_file, [f"graph.k={value}"])


def test_a_file_that_is_no_configuration_is_not_read_whole(tmp_path, monkeypatch):
    monkeypatch.setattr("filtering.config.settings_file.MAX_BYTES", 1 << 20)
    with (tmp_path / "pool.tar").open("wb") as file:
        file.truncate((1 << 20) + 1)
    with pytest.raises(InputError, match="is too large for a configuration, more than 1 MiB"):
        load_config(str(tmp_path / "pool.tar"))


def test_mistakes_of_overrides_and_of_the_file_are_said_together(tmp_path):
    (tmp_path / "run.yaml").write_text("input: {shards: x.tar}\ngraf: {k: 3}\ngraph: {recall: 2}\n")
    with pytest.raises(InputError) as refused:
        load_config(str(tmp_path / "run.yaml"), ["graph.k", "selection.keep=[", "graph.k=0"])
    assert [line.partition(":")[0] for line in str(refused.value).split("\n")] == [
        "--set graph.k",
        "--set selection.keep=[",
        "graf",
        "output",
        "graph.k",
        "graph.recall",
    ]
    with pytest.raises(InputError) as refused:
        load_config(str(tmp_path / "none.yaml"), ["graph.k"])
    assert [line.partition(":")[0] for line in str(refused.value).split("\n")] == [
        f"{tmp_path}/none.yaml",
        "--set graph.k",
    ]


def test_an_override_that_is_nested_too_deep_is_refused(smallest_file):
    with pytest.raises(InputError, match="nested too deep"):
        load_config(smallest_file, [".".join("a" * 20_000) + "=1"])


TWICE = """\
output: runs/a
input:
  shards: a.tar
  "shards": b.tar
filters:
  - {image: {min_side: 1}}
  - caption:
      min_words: 1
      min_words: 2
graf: {k: 1}
output: runs/b
"""


def test_an_override_whose_key_is_not_utf8_is_named(tmp_path):
    (tmp_path / "run.yaml").write_text("output: a\n")
    with pytest.raises(InputError, match=r"(?m)^--set a\\udcff=1: the key is not UTF-8; must read KEY=VALUE"):
        load_config(str(tmp_path / "run.yaml"), ["a\udcff=1"])


def test_a_key_that_is_given_twice_is_refused_with_its_lines_among_the_other_mistakes(tmp_path):
    (tmp_path / "run.yaml").write_text(TWICE)
    with pytest.raises(InputError) as refused:
        load_config(str(tmp_path / "run.yaml"), ["graph.k"])
    assert str(refused.value).split("\n")[:4] == [
        "output: is given in line 1 and again in line 11; keep one",
        "input.shards: is given in line 3 and again in line 4; keep one",
        "filters.1.caption.min_words: is given in line 8 and again in line 9; keep one",
        "--set graph.k: must read KEY=VALUE, such as selection.keep=0.3",
    ]
    assert "\ngraf: unknown key" in str(refused.value)


def test_a_key_that_an_override_gives_twice_is_refused(smallest_file):
    with pytest.raises(InputError, match=r"^--set selection=.*: keep is given twice; keep one$"):
        load_config(smallest_file, ["selection={method: random, keep: 0.1, keep: 0.2}"])


def test_a_key_that_is_merged_and_given_is_given_once(tmp_path):
    text = "input: {shards: x.tar}\noutput: r\ngraph: &g {k: 3}\nray: &r {num_cpus: 1}\n"
    (tmp_path / "run.yaml").write_text(f"{text}selections: {{a: {{<<: &m {{method: top}}, keep: 1}}, b: *m}}\n")
    assert set(load_config(str(tmp_path / "run.yaml")).selections) == {"a", "b"}
    (tmp_path / "run.yaml").write_text(f"{text}selections: {{a: {{method: top, <<: {{method: random}}, keep: 1}}}}\n")
    assert load_config(str(tmp_path / "run.yaml")).selections["a"].method == "top"


@pytest.mark.parametrize(
    "value",
    ["{shards: /p/{00000..00002}.tar}", "{shards: s3://b/{a..c}.tar, uids: name}", "{shards: [a.tar, /p/{0..2}.tar]}"],
)
def test_a_brace_range_without_quotes_is_named_with_what_to_do(tmp_path, smallest_file, value):
    (tmp_path / "odd.yaml").write_text(f"output: x\ninput: {value}\n")
    quoted = re.search(r"\S*\{\w+\.\.\w\w*\}\.tar", value)[0].removeprefix("{")
    with pytest.raises(InputError) as refused:
        load_config(str(tmp_path / "odd.yaml"))
    assert str(refused.value).endswith(f'); quote what holds braces: "{quoted}"')
    with pytest.raises(InputError, match=r'^--set input=.*: the value is not YAML; quote what holds braces: ".*"$'):
        load_config(smallest_file, [f"input={value}"])
