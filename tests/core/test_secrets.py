import pickle

import pytest

from filtering.core.errors import InputError, RunError, first_line, one_line
from filtering.core.secrets import redacted, refused_secret, secret_in

SECRET = "Zm9vYmFy0123"
HELD = [
    f"https://{SECRET}@host/x.tar",
    f"HTTPS://user:{SECRET}@host/x.tar",
    f"s3://KEY:{SECRET}@bucket/x",
    f"s3://KEY:ab/{SECRET}@bucket/x",
    f"simplecache::s3://KEY:{SECRET}@bucket/x",
    f"https://b.s3.amazonaws.com/x.tar?X-Amz-Algorithm=A&X-Amz-Credential={SECRET}&X-Amz-Signature={SECRET}",
    f"https://b.s3.amazonaws.com/x.tar?AWSAccessKeyId={SECRET}&Expires=1&Signature={SECRET}",
    f"https://a.blob.core.windows.net/c/x.tar?sv=2024&se=2027&sig={SECRET}",
    f"https://storage.googleapis.com/b/x.tar?X-Goog-Signature={SECRET}",
    f"https://storage.googleapis.com/b/x.tar?GoogleAccessId={SECRET}&Signature=a",
    f"https://host/x.tar?token={SECRET}",
    f"https://host/x.tar?a=b&access_token={SECRET}&c=d",
    f"https://host/x.tar?api_key={SECRET}",
    f"https://host/x.tar?apikey={SECRET}",
    f"https://host/x.tar#access_token={SECRET}",
    f"https://host/x.tar?X%2DAmz%2DSecurity%2DToken={SECRET}",
    f"https://host/x.tar?%73ig={SECRET}",
    f"https://d.cloudfront.net/x.tar?Policy=a&Key-Pair-Id={SECRET}",
    f"gs://bucket/x.tar?client_secret={SECRET}",
    f"ftp://user:{SECRET}@host/x.tar",
]
FREE = [
    "s3://bucket/run",
    "http://host:8080/a@b",
    "/data/a:b@c?token=x",
    "s3://bucket/a:b@c",
    "abfs://container@account.dfs.core.windows.net/x",
    "hf://datasets/user/name@main/x.tar",
    "ssh://user@host/x",
    "https://host/x.tar?download=true&key=0001&signed=1&X-Amz-SignedHeaders=host",
    "https://host/x.tar?token=",
]


@pytest.mark.parametrize("url", HELD)
def test_a_url_with_a_secret_is_refused_and_never_shown(url):
    assert secret_in(url)
    line = refused_secret("input.shards", url)
    assert line.startswith("input.shards: ") and "holds credentials" in line
    for text in (line, redacted(f"cannot open '{url}', retry"), redacted(f'{{"url": "{url}"}}')):
        assert SECRET not in text
        assert redacted(text) == text


@pytest.mark.parametrize("url", FREE)
def test_a_url_without_a_secret_stays_as_it_is(url):
    assert not secret_in(url)
    assert redacted(url) == url or "token" in url


def test_the_refusal_says_what_to_do_instead():
    assert "s3://" in refused_secret("output", "https://host/x?X-Amz-Signature=abc")
    assert "~/.netrc" in refused_secret("output", "https://abc@host/x")
    assert refused_secret("output", "s3://a:b@c").endswith("leave them out and use the environment")
    assert refused_secret("output", "s3://bucket") == ""


@pytest.mark.parametrize("kind", [InputError, RunError])
def test_an_error_masks_the_secrets_of_its_message_also_after_a_journey(kind):
    error = pickle.loads(pickle.dumps(kind(f"s3://a:{SECRET}@b/x: is not there")))
    assert str(error) == "s3://***@b/x: is not there"


def test_what_a_library_says_is_masked_too():
    error = ValueError(f"bad answer of https://host/?sig={SECRET}")
    assert SECRET not in first_line(error) + one_line(error)
