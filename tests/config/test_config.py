import pytest
from pydantic import ValidationError
from small_configs import SMALLEST, given, refusal

from filtering.config.run import Config, load_config, parse_config


def test_defaults(smallest_file):
    config = load_config(smallest_file)
    assert config == parse_config(SMALLEST)
    assert config.selection.method == "d2"
    assert config.selection.keep == 0.3
    assert (config.selection.budget, config.selection.score) == ("auto", "auto")
    assert config.graph.k == 10
    assert (config.graph.recall, config.graph.max_replicas) == (0.97, 16)
    assert config.concepts.clusters == "auto"
    assert config.filters == ()
    assert config.input.arrays.image == "l14_img"
    assert parse_config(config.resolved()) == config


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
