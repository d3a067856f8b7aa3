import json
import logging
import random
import time
from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from clocks import Time
from pools import metadata_config
from processes import call, write_config
from web_hook import web_hook

from filtering.config.notify import Notify
from filtering.config.run import parse_config
from filtering.core.errors import InputError, RunError
from filtering.pipeline.notification import LARGEST_BYTES, notified, payload
from filtering.pipeline.webhook import body, deliver, webhook
from filtering.runtime.ports import free_ports

TOKEN = "secret-of-the-token"
RECORD = {
    "run_id": "0123456789abcdef",
    "config": {"output": "runs/night"},
    "totals": {"input": 4000, "kept": 1200, "dropped": 2790, "quarantined": 10},
    "reasons": {"dropped": {"selection:d2": 2790}, "quarantined": {"unreadable image": 10}},
    "manifest_hash": "fe" * 32,
    "recall": 0.97,
    "warnings": ["the graph's recall is low"],
    "stages": [{"name": "embedding", "seconds": 61.5, "peak_memory_bytes": 1}, {"name": "graph", "seconds": 2.0}],
}
CHANGES = {"base": {"run": "s3://runs/2026-11-24", "shards": {"new": 3, "changed": 1, "removed": 0, "same": 96}}}


@pytest.fixture
def hook():
    with web_hook() as running:
        yield running


@pytest.fixture
def at():
    """A time that passes only between attempts."""
    return Time()


def told_at(url, **settings):
    return webhook(Notify(url_env="HOOK_URL", **settings), {"HOOK_URL": url, "HOOK_TOKEN": TOKEN})


def night(tmp_path, **settings):
    return parse_config(metadata_config(tmp_path, "runs/night", notify={"url_env": "HOOK_URL", **settings}))


def test_a_payload_is_posted_once_it_is_taken(hook):
    assert deliver(told_at(hook.url), {"state": "finished"}) is None
    ((path, headers, payload),) = hook.got
    assert (path, payload) == ("/hook/secret-of-the-address", {"state": "finished"})
    assert headers["Content-Type"] == "application/json"
    assert "Authorization" not in headers


def test_a_token_goes_as_a_bearer_token(hook):
    assert deliver(told_at(hook.url, token_env="HOOK_TOKEN"), {}) is None
    assert hook.got[0][1]["Authorization"] == f"Bearer {TOKEN}"


def test_two_server_errors_are_followed_by_a_third_attempt(hook, at):
    hook.answer(500)
    hook.answer(503)
    assert deliver(told_at(hook.url), {"state": "finished"}, clock=at.clock()) is None
    assert hook.payloads == [{"state": "finished"}] * 3
    assert 0.5 <= at.slept[0] <= 1 <= at.slept[1] <= 2


def test_what_keeps_failing_is_given_up_after_the_retries(hook, at):
    for _ in range(9):
        hook.answer(502)
    assert deliver(told_at(hook.url, retries=2), {}, clock=at.clock()) == "the answer was 502 (3 attempts)"
    assert len(hook.got) == 3


@pytest.mark.parametrize("status", [400, 401, 404, 410])
def test_a_refusal_is_not_tried_again(hook, at, status):
    hook.answer(status)
    assert deliver(told_at(hook.url), {}, clock=at.clock()) == f"the answer was {status} (1 attempt)"
    assert len(hook.got) == 1


def test_a_redirect_is_not_followed(hook):
    with web_hook() as elsewhere:
        hook.answer(307, Location=elsewhere.url)
        fault = deliver(told_at(hook.url, token_env="HOOK_TOKEN"), {})
        assert elsewhere.got == []
    assert fault == "the answer was 307, a redirect, which is not followed (1 attempt)"


def test_nobody_waits_longer_than_the_time_out(hook, at):
    for _ in range(2):
        hook.answer(200, seconds=2)
    assert (
        deliver(told_at(hook.url, timeout=0.3, retries=1), {}, clock=at.clock())
        == "no answer within 0.3 s (2 attempts)"
    )


def test_a_refused_connection_is_tried_again(at):
    url = f"http://127.0.0.1:{free_ports(1)[0]}/secret-of-the-address"
    fault = deliver(told_at(url, retries=1), {}, clock=at.clock())
    assert fault.startswith("no connection: ")
    assert fault.endswith(" (2 attempts)")
    assert len(at.slept) == 1


@pytest.mark.parametrize(
    ("asked", "least", "most"),
    [
        ("7", 7, 7),
        ("86400", 60, 60),
        ("-5", 0, 0),
        ("nan", 0, 0),
        ("soon", 0.5, 1),
    ],
)
def test_the_server_says_within_bounds_when_to_come_again(hook, at, asked, least, most):
    hook.answer(429, Retry_After=asked)
    assert deliver(told_at(hook.url), {}, clock=at.clock()) is None
    assert least <= at.slept[0] <= most


def test_the_server_may_name_a_date(hook, at):
    hook.answer(503, Retry_After=format_datetime(datetime.fromtimestamp(at.now + 30, UTC), usegmt=True))
    assert deliver(told_at(hook.url), {}, clock=at.clock()) is None
    assert at.slept[0] == 30


@pytest.mark.parametrize("environment", [{}, {"HOOK_URL": " "}])
def test_a_missing_variable_is_refused_before_any_work(tmp_path, monkeypatch, environment):
    monkeypatch.delenv("HOOK_URL", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match=r"^notify\.url_env: the environment has no variable HOOK_URL$"):
        notified(night(tmp_path), lambda: pytest.fail("it worked"), print)


@pytest.mark.parametrize("token", ["secret\nX-Other: 1", "two words", "schlüssel"])
def test_a_token_that_cannot_be_sent_is_refused_without_being_shown(hook, token):
    settings = Notify(url_env="HOOK_URL", token_env="HOOK_TOKEN")
    with pytest.raises(InputError) as refused:
        webhook(settings, {"HOOK_URL": hook.url, "HOOK_TOKEN": token})
    assert str(refused.value) == "notify.token_env: HOOK_TOKEN holds what cannot be sent as a bearer token"


@pytest.mark.parametrize("url", ["file:///etc/passwd", "hooks.example.org/secret", "https://", "http://h:99999/secret"])
def test_what_is_no_web_address_is_refused_without_being_shown(url):
    with pytest.raises(InputError) as refused:
        told_at(url)
    assert str(refused.value) == "notify.url_env: HOOK_URL: must hold a URL that begins with https:// or http://"


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({}, "notify: give either notify.url_env (an environment variable) or notify.url"),
        (
            {"url": "https://a.org", "url_env": "HOOK_URL"},
            "notify: give either notify.url_env (an environment variable) or notify.url",
        ),
        (
            {"url_env": "https://hooks.example.org/secret"},
            "notify.url_env: must be the name of an environment variable, such as HOOK_URL",
        ),
        (
            {"url": "https://a.org", "token_env": "xoxb-secret"},
            "notify.token_env: must be the name of an environment variable, such as HOOK_URL",
        ),
        (
            {"url": "https://name:secret@a.org"},
            "notify.url: https://***@a.org holds credentials (a name or password before the host); "
            "name an environment variable that holds it in notify.url_env",
        ),
        (
            {"url": "https://a.org", "when": ["sucess"]},
            'notify.when.0: "sucess" is not valid; it must be a list of success and failure; did you mean success?',
        ),
        (
            {"url": "https://a.org", "retries": 11},
            "notify.retries: 11 is not valid; it must be the number of times a delivery is retried, 0 to 10",
        ),
    ],
)
def test_a_wrong_setting_is_refused_in_one_line_without_secrets(tmp_path, settings, line):
    with pytest.raises(InputError) as refused:
        parse_config(metadata_config(tmp_path, "runs/night", notify=settings))
    assert str(refused.value) == line


def test_who_is_told_does_not_change_what_a_run_is(tmp_path):
    plain = parse_config(metadata_config(tmp_path, "runs/night"))
    assert plain.notify is None
    assert night(tmp_path).digest() == plain.digest()


def test_a_run_that_finished_tells_its_summary(hook, tmp_path, monkeypatch):
    monkeypatch.setenv("HOOK_URL", hook.url)
    assert notified(night(tmp_path), lambda: RECORD | CHANGES, print) == RECORD | CHANGES
    (told,) = hook.payloads
    assert told["text"] == (
        "filtering finished: runs/night after 0 s, kept 1,200 of 4,000; shards: 3 new, 1 changed, 0 removed, 96 same"
    )
    assert told["state"] == "finished"
    assert told["stages"] == {"embedding": 61.5, "graph": 2.0}
    assert datetime.fromisoformat(told["started"]).tzinfo is not None
    known = ("run_id", "totals", "reasons", "manifest_hash", "recall", "warnings")
    assert {name: told[name] for name in known} == {name: RECORD[name] for name in known}
    assert {name: told[name] for name in CHANGES} == CHANGES
    assert "config" not in told


def test_a_run_that_failed_tells_why_and_fails_as_before(hook, tmp_path, monkeypatch):
    monkeypatch.setenv("HOOK_URL", hook.url)

    def fail():
        raise RunError("embedding: s3://u:secret@host/pool kept failing")

    with pytest.raises(RunError, match="kept failing"):
        notified(night(tmp_path), fail, print)
    (told,) = hook.payloads
    assert (told["state"], told["error"]) == ("failed", "embedding: s3://***@host/pool kept failing")
    assert told["text"] == f"filtering failed: runs/night after 0 s: {told['error']}"


def test_a_run_without_a_pool_tells_what_it_refuses(hook, tmp_path):
    config = metadata_config(tmp_path, tmp_path / "run", notify={"url_env": "HOOK_URL"})
    refused = call("run", "--config", write_config(tmp_path / "run.yaml", config), HOOK_URL=hook.url)
    assert refused.returncode == 2
    (told,) = hook.payloads
    assert refused.stderr == f"filtering: {told['error']}\n"
    assert not (tmp_path / "run").exists()


def test_a_run_that_is_stopped_tells_so_once(hook, tmp_path, monkeypatch):
    monkeypatch.setenv("HOOK_URL", hook.url)
    hook.answer(500)

    def stop():
        raise KeyboardInterrupt

    said = []
    with pytest.raises(KeyboardInterrupt):
        notified(night(tmp_path), stop, said.append)
    (told,) = hook.payloads
    assert (told["state"], told["text"]) == ("stopped", "filtering stopped: runs/night after 0 s")
    assert "error" not in told
    assert said == ["warning: notify: the webhook did not receive that the run stopped: the answer was 500 (1 attempt)"]


@pytest.mark.parametrize(("when", "states"), [("success", ["finished"]), ("failure", ["failed"])])
def test_only_what_is_asked_for_is_told(hook, tmp_path, monkeypatch, when, states):
    monkeypatch.setenv("HOOK_URL", hook.url)
    config = night(tmp_path, when=[when])
    notified(config, lambda: RECORD, print)
    with pytest.raises(ZeroDivisionError):
        notified(config, lambda: 1 / 0, print)
    assert [told["state"] for told in hook.payloads] == states


def test_a_webhook_that_is_gone_is_a_warning_without_secrets(tmp_path, monkeypatch, caplog, capfd, at):
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("HOOK_URL", f"http://127.0.0.1:{free_ports(1)[0]}/secret-of-the-address")
    monkeypatch.setenv("HOOK_TOKEN", TOKEN)
    said = []
    config = night(tmp_path, token_env="HOOK_TOKEN")
    assert notified(config, lambda: RECORD, said.append, at.clock()) == RECORD
    (line,) = said
    assert line.startswith("warning: notify: the webhook did not receive that the run finished: no connection: ")
    told = [*said, caplog.text, *capfd.readouterr(), json.dumps(config.resolved()), repr(webhook(config.notify))]
    assert not any("secret" in text for text in told)


def test_a_payload_is_bounded_and_says_what_is_left_out():
    many = {f"reason {number} {random.random()}": number for number in range(5000)}
    large = payload("runs/night", time.time(), RECORD | {"reasons": {"dropped": many}, "drift": {"of": "x" * 9000}})
    assert len(body(large)) <= LARGEST_BYTES
    assert large["left_out"] == ["drift", "reasons"]
    assert large["totals"] == RECORD["totals"]
    failed = payload("runs/night", time.time(), error=ValueError("x" * 1_000_000))
    assert len(body(failed)) < 5000


def test_the_line_for_people_shows_what_a_terminal_or_a_chat_would_obey():
    told = payload("runs/night", 0.0, error=ValueError("pool/\x1b[2J\u202e.tar"), clock=Time().clock())
    assert told["text"].endswith(r"ValueError: pool/\x1b[2J\u202e.tar")
    assert told["error"] == "ValueError: pool/\x1b[2J\u202e.tar"
