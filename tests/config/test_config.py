import pytest
from pydantic import ValidationError

from filtering.config.run import Config, load_config, parse_config
from filtering.core.errors import InputError

SMALLEST = {"input": {"shards": "pool/*.tar"}, "output": "runs/first"}


def given(**changes):
    return {**SMALLEST, **changes}


def refusal(data):
    with pytest.raises(InputError) as refused:
        parse_config(data)
    message = str(refused.value)
    assert message.splitlines() == [message]
    return message


@pytest.fixture
def smallest_file(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("input:\n  shards: pool/*.tar\noutput: runs/first\n")
    return str(path)


def test_defaults(smallest_file):
    config = load_config(smallest_file)
    assert config == parse_config(SMALLEST)
    assert config.selection.method == "d2"
    assert config.selection.keep == 0.3
    assert (config.selection.budget, config.selection.score) == ("auto", "auto")
    assert config.graph.k == 10
    assert (config.graph.recall, config.graph.reach) == (0.97, 16)
    assert config.concepts.clusters == "auto"
    assert config.filters == ()
    assert config.input.arrays.image == "l14_img"
    assert parse_config(config.resolved()) == config


@pytest.mark.parametrize(
    ("override", "keys", "value"),
    [
        ("graph.k=5", ("graph", "k"), 5),
        ("selection.keep=0.5", ("selection", "keep"), 0.5),
        ("selection.keep=500", ("selection", "keep"), 500),
        ("selection.gamma_reverse=0", ("selection", "gamma_reverse"), 0.0),
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
    ("data", "key", "nearest"),
    [
        (given(outputs=1), "outputs", "output"),
        (given(graf={"k": 3}), "graf", "graph"),
        (given(graph={"kk": 3, "reech": 2}), "graph.kk", "k"),
        (given(graph={"reech": 2}), "graph.reech", "reach"),
        (given(selection={"gamma_foward": 1.0}), "selection.gamma_foward", "gamma_forward"),
        (given(concepts={"cluster": 3}), "concepts.cluster", "clusters"),
        (given(embedding={"modle": "x"}), "embedding.modle", "model"),
        (given(ray={"adress": "x"}), "ray.adress", "address"),
        (given(input={"shard": "x", "shards": "y"}), "input.shard", "shards"),
        (given(input={"shards": "y", "arrays": {"imag": "x"}}), "input.arrays.imag", "image"),
        (given(filters=[{"captoin": {}}]), "filters.0.captoin", "caption"),
        (given(filters=[{"caption": {}}, {"clip_score": {"kep": 1}}]), "filters.1.clip_score.kep", "keep"),
        (given(filters=[{"caption": {"min_word": 1}}]), "filters.0.caption.min_word", "min_words"),
        (
            given(selection={"score": {"table": "t.parquet", "column": "c", "colum": "q"}}),
            "selection.score.colum",
            "column",
        ),
    ],
)
def test_unknown_keys_are_refused_with_the_nearest_name(data, key, nearest):
    message = refusal(data)
    assert message.startswith(f"{key}: unknown key")
    assert nearest in message.removeprefix(f"{key}: unknown key")


def test_an_unknown_key_without_a_like_lists_the_known():
    assert refusal(given(graph={"zzzz": 3})) == "graph.zzzz: unknown key; known: guests, k, reach, recall"


@pytest.mark.parametrize(
    ("data", "key"),
    [
        (given(output=5), "output"),
        (given(output=""), "output"),
        (given(output=None), "output"),
        (given(input="pool"), "input"),
        (given(input={"shards": 5}), "input.shards"),
        (given(input={"shards": ["a", 5]}), "input.shards"),
        (given(input={"metadata": {"a": 1}}), "input.metadata"),
        (given(input={"shards": "x", "arrays": "image"}), "input.arrays"),
        (given(embedding=3), "embedding"),
        (given(embedding={"device": "gpu"}), "embedding.device"),
        (given(embedding={"precision": 16}), "embedding.precision"),
        (given(embedding={"batch_size": 0}), "embedding.batch_size"),
        (given(embedding={"batch_size": "8"}), "embedding.batch_size"),
        (given(embedding={"batch_size": 8.5}), "embedding.batch_size"),
        (given(embedding={"batch_size": True}), "embedding.batch_size"),
        (given(filters={"caption": {}}), "filters"),
        (given(filters=["caption"]), "filters.0"),
        (given(filters=[{"caption": 3}]), "filters.0.caption"),
        (given(filters=[{"caption": {"min_words": -1}}]), "filters.0.caption.min_words"),
        (given(filters=[{"caption": {"max_characters": 0}}]), "filters.0.caption.max_characters"),
        (given(filters=[{"clip_score": {"keep": 0.0}}]), "filters.0.clip_score.keep"),
        (given(filters=[{"clip_score": {"keep": 1.5}}]), "filters.0.clip_score.keep"),
        (given(filters=[{"clip_score": {"threshold": 2.0}}]), "filters.0.clip_score.threshold"),
        (given(filters=[{"clip_score": {"threshold": float("nan")}}]), "filters.0.clip_score.threshold"),
        (given(filters=[{"clip_score": {"threshold": True}}]), "filters.0.clip_score.threshold"),
        (given(filters=[{"clip_score": {"threshold": "0.2"}}]), "filters.0.clip_score.threshold"),
        (given(concepts={"clusters": "many"}), "concepts.clusters"),
        (given(concepts={"clusters": 0}), "concepts.clusters"),
        (given(concepts={"seed": -1}), "concepts.seed"),
        (given(concepts={"seed": 2**32}), "concepts.seed"),
        (given(concepts={"partition_rows": 0}), "concepts.partition_rows"),
        (given(graph={"k": 0}), "graph.k"),
        (given(graph={"k": "ten"}), "graph.k"),
        (given(graph={"k": None}), "graph.k"),
        (given(graph={"reach": 1.5}), "graph.reach"),
        (given(ray={"gpus_per_search": 1.5}), "ray.gpus_per_search"),
        (given(selection={"keep": 0}), "selection.keep"),
        (given(selection={"keep": -0.5}), "selection.keep"),
        (given(selection={"keep": 1.5}), "selection.keep"),
        (given(selection={"keep": "most"}), "selection.keep"),
        (given(selection={"keep": True}), "selection.keep"),
        (given(selection={"method": 3}), "selection.method"),
        (given(selection={"score": 3}), "selection.score"),
        (given(selection={"score": {"table": "t.parquet"}}), "selection.score"),
        (given(selection={"gamma_forward": -1.0}), "selection.gamma_forward"),
        (given(selection={"gamma_reverse": float("inf")}), "selection.gamma_reverse"),
        (given(selection={"gamma_reverse": float("nan")}), "selection.gamma_reverse"),
        (given(selection={"gamma_reverse": "1"}), "selection.gamma_reverse"),
        (given(selection={"temperature": 0.0}), "selection.temperature"),
        (given(selection={"temperature": True}), "selection.temperature"),
        (given(selection={"temperature": "0.1"}), "selection.temperature"),
        (given(selection={"minimum": -1}), "selection.minimum"),
        (given(ray={"address": 5}), "ray.address"),
        (given(ray={"num_cpus": "all"}), "ray.num_cpus"),
        (given(ray={"num_cpus": 0}), "ray.num_cpus"),
        (given(ray=[]), "ray"),
    ],
)
def test_wrong_values_are_named_in_one_line(data, key):
    assert refusal(data).startswith(f"{key}")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"output": "x"}, "input"),
        ({"input": {"shards": "x"}}, "output"),
        (given(input={}), "one of the two"),
        (given(input={"shards": "x", "metadata": "y"}), "one of the two"),
        (given(filters=[{}]), "filters"),
        (given(filters=[{"caption": {}, "clip_score": {"keep": 0.5}}]), "filters"),
        (given(filters=[{"clip_score": {}}]), "keep"),
        (given(filters=[{"clip_score": {"keep": 0.5, "threshold": 0.2}}]), "keep"),
        (given(selection={"score": {"column": "c"}}), "table"),
    ],
)
def test_what_is_missing_or_too_much_is_said(data, words):
    assert words in refusal(data)


def test_a_value_that_is_nearly_right_is_suggested():
    assert "did you mean cuda?" in refusal(given(embedding={"device": "cudaa"}))


def test_odd_keys_are_refused_in_one_line():
    refusal(given(**{"a\nb": 1}))
    refusal({**SMALLEST, 5: 1})
    refusal({**SMALLEST, "graph": {True: 1}})


@pytest.mark.parametrize(
    "url",
    [
        "s3://key:secret@bucket/run",
        "s3://key:sec/ret@bucket/run",
        "https://key:secret@host/run",
        "simplecache::s3://key:secret@bucket/run",
    ],
)
def test_credentials_in_urls_are_refused_and_not_repeated(url):
    for data in (
        given(output=url),
        given(input={"shards": url}),
        given(input={"metadata": ["a", url]}),
        given(selection={"score": {"table": url, "column": "c"}}),
        given(embedding={"pretrained": url}),
    ):
        message = refusal(data)
        assert "credentials" in message
        assert "ret@" not in message


def test_a_wrong_value_does_not_repeat_credentials():
    assert "secret" not in refusal(given(output=["s3://key:secret@bucket/run"]))


def test_urls_without_credentials_pass():
    for url in ("s3://bucket/run", "http://host:8080/a@b", "/data/a:b@c", "s3://bucket/a:b@c"):
        assert parse_config(given(output=url)).output == url


def test_the_configuration_is_frozen():
    config = parse_config(SMALLEST)
    with pytest.raises(ValidationError):
        config.output = "x"
    with pytest.raises(ValidationError):
        config.graph.k = 3
    assert isinstance(config, Config)


def test_the_digest_leaves_out_where_it_runs():
    config = parse_config(SMALLEST)
    assert config.digest() == parse_config(given(output="y", ray={"num_cpus": 3})).digest()
    assert config.digest() != parse_config(given(graph={"k": 9})).digest()
    assert config.digest() != parse_config(given(input={"shards": "other"})).digest()


def test_a_value_that_holds_itself_is_refused():
    itself = {}
    itself["x"] = itself
    refusal(given(output=itself))


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
