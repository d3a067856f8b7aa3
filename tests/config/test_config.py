from types import MappingProxyType

import pytest
import yaml
from pydantic import ValidationError
from small_configs import SMALLEST, given, refusal, refusals

from filtering.config.run import Config, load_config, parse_config
from filtering.core.errors import InputError


def test_defaults(smallest_file):
    config = load_config(smallest_file)
    assert config == parse_config(SMALLEST)
    assert config.selection.method == "d2"
    assert config.selection.keep == 0.3
    assert (config.selection.settings.variant, config.selection.score) == ("novelty", "right")
    assert config.selection.budget == "distinct"
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
        "https://secret@host/x.tar",
        "https://bucket.s3.amazonaws.com/x.tar?X-Amz-Signature=secret&X-Amz-Expires=1",
        "https://account.blob.core.windows.net/x.tar?sv=1&sig=secret",
        "https://host/x.tar?access_token=secret",
    ],
)
def test_credentials_in_urls_are_refused_and_not_repeated(url):
    for data in (
        given(output=url),
        given(input={"shards": url}),
        given(input={"metadata": ["a", url]}),
        given(selection={"score": {"table": url, "column": "c"}}),
        given(embedding={"pretrained": url}),
        given(base=url),
        given(concepts={"centroids": url}),
        given(notify={"url": url}),
        given(selections={url: {"method": "top"}}),
    ):
        message = refusal(data)
        assert "holds credentials" in message
        assert "ret@" not in message and "=secret" not in message


def test_the_address_of_a_chat_s_webhook_is_refused_and_not_repeated():
    message = refusal(given(notify={"url": "https://hooks.slack.com/services/T0/B0/abcdef"}))
    assert message == (
        "notify.url: https://hooks.slack.com/*** holds credentials (the path of a webhook); name an environment "
        "variable that holds it in notify.url_env"
    )


def test_a_wrong_value_does_not_repeat_credentials():
    assert "secret" not in refusal(given(output=["s3://key:secret@bucket/run"]))


def test_credentials_are_told_beside_what_else_is_wrong(smallest_file, tmp_path):
    wrong = {"base": "https://secret@host/x", "embeding": {}, "notify": {"url": "https://key:secret@hook/x"}}
    lines = [
        "base: https://***@host holds credentials (a name or password before the host); leave them out and use the "
        "environment (~/.netrc, or FSSPEC_HTTPS for headers)",
        "notify.url: https://***@hook holds credentials (a name or password before the host); name an environment "
        "variable that holds it in notify.url_env",
        "embeding: unknown key; did you mean embedding?",
    ]
    assert refusals(given(**wrong)) == lines
    (tmp_path / "wrong.yaml").write_text(yaml.safe_dump(given(**wrong)))
    with pytest.raises(InputError) as refused:
        load_config(tmp_path / "wrong.yaml", ["selection.keep"])
    assert str(refused.value).split("\n") == [
        *lines[:2],
        "--set selection.keep: must read KEY=VALUE, such as selection.keep=0.3",
        lines[2],
    ]


def test_credentials_are_found_in_any_mapping():
    assert "holds credentials" in refusal(MappingProxyType(given(base="https://secret@host/x")))


def test_urls_without_credentials_pass():
    for url in ("s3://bucket/run", "/data/a:b@c", "s3://bucket/a:b@c"):
        assert parse_config(given(output=url)).output == url
    assert parse_config(given(base="http://host:8080/a@b")).base == "http://host:8080/a@b"


@pytest.mark.parametrize("url", ["http://host/run", "HTTPS://host/run"])
def test_nothing_is_written_to_the_web(url):
    assert refusal(given(output=url)).startswith(f"output: {url}: nothing can be written to a web server; give a path")


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
