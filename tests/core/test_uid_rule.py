from pathlib import Path

import pytest

from filtering.core.errors import InputError
from filtering.core.uid_rule import UidRule, canonical_url

HERE = Path.cwd()


@pytest.mark.parametrize(
    ("url", "spelled"),
    [
        ("/pool/0.tar", "/pool/0.tar"),
        ("pool/0.tar", f"{HERE}/pool/0.tar"),
        ("~/0.tar", str(Path("~/0.tar").expanduser())),
        ("//pool/.//cc3m/../0.tar", "/pool/0.tar"),
        ("file:///pool/a%20b?/0.tar", "/pool/a%20b?/0.tar"),
        ("file:/pool/0.tar", "/pool/0.tar"),
        ("s3://pool/a//b/./c?.tar", "s3://pool/a//b/./c?.tar"),
        ("S3A://pool/0.tar", "s3://pool/0.tar"),
        ("gcs://pool/0.tar", "gs://pool/0.tar"),
        ("s3://KEY:SECRET@pool/0.tar", "s3://pool/0.tar"),
        ("https://me:secret@Host.org/./a%7Eb%2fc d.tar?token=1#x", "https://host.org/a~b%2Fc%20d.tar"),
        ("https://TOKEN@host/0.tar", "https://host/0.tar"),
        ("abfss://container@account.dfs.core.windows.net/0.tar", "abfs://container@account.dfs.core.windows.net/0.tar"),
        ("hf://datasets/me/pool@main/0.tar", "hf://datasets/me/pool@main/0.tar"),
        ("simplecache::s3a://pool/0.tar", "s3://pool/0.tar"),
        ("zip://a/0.tar::filecache::s3://pool/b.zip", "s3://pool/b.zip::zip://a/0.tar"),
    ],
)
def test_a_url_has_one_spelling(url, spelled):
    assert canonical_url(url) == spelled
    assert UidRule().place(url) == spelled


@pytest.mark.parametrize(
    ("root", "url", "place"),
    [
        ("/pool", "/pool/cc3m/0.tar", "cc3m/0.tar"),
        ("/", "/pool/0.tar", "pool/0.tar"),
        ("s3://pool", "s3a://pool/cc3m/0.tar", "cc3m/0.tar"),
        ("s3://pool", "zip://0.tar::s3://pool/a.zip", "a.zip::zip://0.tar"),
    ],
)
def test_below_a_root_the_rest_counts(root, url, place):
    assert UidRule(root=root).place(url) == place


@pytest.mark.parametrize("url", ["/pool2/0.tar", "/0.tar", "s3://pool/0.tar"])
def test_a_shard_outside_the_root_is_refused_by_its_name(url):
    with pytest.raises(InputError, match=rf"input\.root: {url} is not below /pool; "):
        UidRule(root="/pool").place(url)


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("s3://pool/cc3m/0.tar", "0.tar"),
        ("/0.tar", "0.tar"),
        ("HTTPS://host/cc3m/0.tar?download=true&of=a/b", "0.tar"),
        ("/pool/0?.tar", "0?.tar"),
    ],
)
def test_by_name_neither_folder_nor_a_query_of_the_web_counts(url, name):
    assert UidRule("name").place(url) == name


@pytest.mark.parametrize(
    ("record", "rule"),
    [
        ({"config": {"input": {"uids": "url", "root": None}}}, UidRule()),
        ({"config": {"input": {"uids": "url", "root": "/pool"}}}, UidRule(root="/pool")),
        ({"config": {"input": {"uids": "name", "root": None}}}, UidRule("name")),
        ({"config": {"input": {"shards": "pool"}}}, UidRule("name")),
        ({"config": {"input": []}}, UidRule("name")),
        ({}, UidRule("name")),
    ],
)
def test_a_run_says_its_rule_and_an_older_one_took_the_name(record, rule):
    assert UidRule.recorded(record) == rule
