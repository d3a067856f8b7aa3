import pickle
import time

import pytest

from filtering.core.errors import InputError, RunError, first_line, one_line
from filtering.core.secrets import redacted, refused_secret, secret_in

SECRET = "Zm9vYmFy0123"
# In the forms of Google's keys and of Azure's, and in hexadecimal digits; none is anybody's.
KEYS = [
    "AIzaSyD3m0k9Qw7Zx1Lp5Vt8Rb2Nc6Hj4Gf0Ka_",
    "aB3dE6gH9jK2mN5pQ8sT1vW4xY7zA0cF-iL_oRuXAzFuU3wZ5yB8eQ==",
    "0f1e2d3c4b5a69788796a5b4c3d2e1f0",
]
HELD = [
    f"https://{SECRET}@host/x.tar",
    f"HTTPS://user:{SECRET}@host/x.tar",
    f"hf://{SECRET}@datasets/user/name/x.tar",
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
    f"https://hooks.slack.com/services/T00/B00/{SECRET}",
    f"https://hooks.slack.com/workflows/T0/A0/1/{SECRET}",
    f"https://discord.com/api/webhooks/123/{SECRET}",
    f"https://ptb.discordapp.com/api/v10/webhooks/123/{SECRET}?wait=true",
    f"https://firm.webhook.office.com/webhookb2/a@b/IncomingWebhook/{SECRET}/c",
    f"https://api.telegram.org/bot1:{SECRET}/sendMessage",
    f"https://chat.googleapis.com/v1/spaces/A/messages?key={SECRET}&token=a",
    f"https://user:p@{SECRET}@host/x.tar",
    f"https://user@mail.org:{SECRET}@host/x.tar",
    f"s3://KEY:7/{SECRET}@bucket/x",
    f"s3:/KEY:{SECRET}@bucket/x",
    f"https:/{SECRET}@host/x.tar",
    *(
        f"https://host/x.tar?{name}={SECRET}"
        for name in ("auth_key", "authkey", "sign", "pass", "private_key", "hmac", "sas", "session", "token[]")
    ),
    f'https://host/x.tar?token="{SECRET}"',
    f"https://host/x.tar?token='{SECRET}'",
    f"https://api.firm.example/x.tar?subscription-key={SECRET}",
    f"https://host/x.tar?x-functions-key={SECRET}",
]
FREE = [
    "s3://bucket/run",
    "http://host:8080/a@b",
    "hdfs://host:8020/a@b",
    "zip://a.tar::abfs://container@account.dfs.core.windows.net/x.zip",
    "/data/a:b@c?token=x",
    "s3://bucket/a:b@c",
    "abfs://container@account.dfs.core.windows.net/x",
    "hf://datasets/user/name@main/x.tar",
    "ssh://user@host/x",
    "https://host/x.tar?download=true&key=0001&signed=1&X-Amz-SignedHeaders=host",
    "https://host/x.tar?token=",
    "https://host/x.tar?key=datasets/Laion/Part-00000/2024-01-01",
    "https://host/x.tar?key=LaionAesthetics2024Part0001Shard",
    "https://host/x.tar?key=00000000000000000000000000000042",
    "https://host/x.tar?key=01ARZ3NDEKTSV4RRFFQ69G5FAV",
    "https://host/x.tar?key=____________________",
    "https://host/x.tar?key=550e8400-e29b-41d4-a716-446655440000",
    "https://host/x.tar?key=images/train_large/000123.jpg",
    "https://host/x.tar?code=en-US&zipcode=0f1e2d3c4b5a69788796a5b4c3d2e1f0",
    "https://host/hooks/pool/00000000000000000001.tar",
    "https://host/pool/webhooks.tar",
    "https://discord.com/channels/1/2",
]


@pytest.mark.parametrize("url", HELD)
def test_a_url_with_a_secret_is_refused_and_never_shown(url):
    assert secret_in(url)
    line = refused_secret("input.shards", url)
    assert line.startswith("input.shards: ") and "holds credentials" in line
    for text in (line, redacted(f"cannot open '{url}', retry"), redacted(f'{{"url": "{url}"}}')):
        assert SECRET not in text
        assert redacted(text) == text


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("form", ["key={}", "Key={}&alt=media", "a=b&code={}", "code='{}'"])
def test_what_looks_like_a_key_is_a_secret_under_the_usual_names_of_keys(key, form):
    for given in (key, key.replace("=", "%3D")):
        url = f"https://host/x.tar?{form.format(given)}"
        assert secret_in(url).lower() in ("the parameter key", "the parameter code")
        assert key[:12] not in redacted(url) + refused_secret("input.shards", url)
        assert redacted(redacted(url)) == redacted(url)


@pytest.mark.parametrize("url", FREE)
def test_a_url_without_a_secret_stays_as_it_is(url):
    assert not secret_in(url)
    assert redacted(url) == url or "token" in url


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (f"https://user:pa {SECRET}@host:81/x.tar", "https://***@host:81"),
        (f"https://user:p@{SECRET}@host/x.tar", "https://***@host"),
        (f"https://user:{SECRET}@a?{SECRET}@host/x.tar", "https://***"),
        (f"simplecache::s3://KEY:{SECRET}@bucket/x", "s3://***@bucket"),
        (f"https://host/x.tar?token=a {SECRET}", "https://host/***"),
        (f"https://host;token={SECRET}/x", "https://***"),
    ],
)
def test_the_refusal_shows_the_scheme_and_what_is_surely_the_host(url, shown):
    assert refused_secret("output", url).startswith(f"output: {shown} holds credentials (")


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


@pytest.mark.parametrize("url", ["https://chat.firm.example/hooks/{}", "http://host:8065/team/api/webhook/1/{}?a=b"])
def test_the_path_of_any_webhook_is_masked_although_it_may_be_no_secret(url):
    url = url.format(2 * SECRET)
    assert not secret_in(url)
    text = redacted(f"cannot reach {url}: refused")
    assert SECRET not in text
    assert text.endswith("/*** refused")
    assert redacted(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "https://a" + "/hooks/b" * 20_000,
        "https://a/" * 20_000,
        "https://a" + "/b" * 80_000,
        "https://a:b" * 20_000,
        "https://a" + "::b" * 20_000,
    ],
)
def test_masking_takes_no_longer_for_a_text_that_was_made_for_that(text):
    began = time.process_time()
    assert redacted(text) == text
    assert time.process_time() - began < 1
