import argparse
import io
import json

import pytest
from pools import member, tar_config, write_tar

from filtering.cli.drawing import console_on, plain_lines, stacked, text
from filtering.cli.live import LiveReporter
from filtering.cli.output import print_result
from filtering.runtime.progress import LineReporter

# It clears the screen, sets the title, begins a line that looks like ours, and turns the rest around.
HOSTILE = "\x1b[2J\x1b]0;owned\x07 cat\r\nkept 9 of 9\u202e\u2028\x9b31m"
SHOWN = r"\x1b[2J\x1b]0;owned\x07 cat\r\nkept 9 of 9\u202e\u2028\x9b31m"


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self):
        return True


def printed(stream, **how):
    given = argparse.Namespace(out_stream=stream, json=how.pop("json", False))
    assert print_result(given, {"caption": HOSTILE}, **how) == 0
    return stream.getvalue()


def test_lines_are_printed_with_escapes_written_out():
    assert printed(io.StringIO(), lines=lambda: [HOSTILE, "next"]) == f"{SHOWN}\nnext\n"


def test_secrets_of_urls_are_masked():
    line = "shard https://host/x.tar?X-Amz-Signature={}"
    assert printed(io.StringIO(), lines=lambda: [line.format("abc")]) == line.format("***") + "\n"
    stream = io.StringIO()
    print_result(argparse.Namespace(out_stream=stream, json=True), {"shard": line.format("abc"), "key": "x"})
    assert json.loads(stream.getvalue()) == {"shard": line.format("***"), "key": "x"}


def test_json_holds_the_text_itself():
    out = printed(io.StringIO(), json=True)
    assert json.loads(out) == {"caption": HOSTILE}
    assert out.isascii()
    assert out.rstrip("\n").isprintable()


@pytest.mark.parametrize("drawn", [lambda: HOSTILE, lambda: text(HOSTILE), lambda: stacked([HOSTILE])])
def test_a_view_keeps_its_colours_and_writes_out_what_its_data_hold(drawn, monkeypatch):
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.delenv("NO_COLOR", raising=False)
    out = printed(Terminal(), view=lambda: stacked([drawn(), text("ours", "red")]))
    assert SHOWN in out
    assert "\x1b[31mours\x1b[0m" in out
    assert out.replace("\x1b[31m", "").replace("\x1b[0m", "").replace("\n", "").isprintable()
    assert plain_lines(stacked([drawn(), text("ours", "red")])) == [SHOWN, "ours"]


def test_text_that_was_built_elsewhere_is_written_out_too():
    from rich.text import Text

    console = console_on(Terminal())
    with console.capture() as drawn:
        console.print(Text("\x1b[2J cat"))
    assert drawn.get() == "\\x1b[2J cat\n"


def test_a_long_view_is_as_wide_as_the_terminal_with_its_escapes():
    console = console_on(Terminal())
    console.width = 40
    with console.capture() as drawn:
        console.print(text("\x1b" * 30))
    assert max(map(len, drawn.get().splitlines())) <= 40


def test_progress_is_told_with_escapes_written_out(capsys):
    plain, live = LineReporter(), LiveReporter(console_on(Terminal()))
    for told in (plain, live):
        told.start("embedding", 8, "shards")
        told.say(HOSTILE)
        told.finish(f"found {HOSTILE}")
        told.stop()
    console = live.console
    for out in (capsys.readouterr().err, console.file.getvalue()):
        assert "\x1b[2J" not in out
        assert "\x07" not in out
        assert r"\x1b[2J" in out


def test_a_refusal_stays_one_line_that_a_terminal_shows(refused):
    for words in (
        ["status", f"/nowhere/{HOSTILE}"],
        [HOSTILE],
        ["plan", "--config", HOSTILE],
        ["status", "x", HOSTILE],
    ):
        line = refused(*words)
        assert line.rstrip("\n").isprintable()
        assert r"\x1b[2J" in line


def test_what_a_runs_folder_says_is_written_out(tmp_path, call_main):
    lines = [
        {"time": 1.0, "event": "run_started"},
        {"time": 2.0, "event": "stage_started", "stage": HOSTILE},
        {"time": 3.0, "event": "run_failed", "error": "RunError", "detail": HOSTILE},
    ]
    (tmp_path / "events.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    for words in ((), ("--watch",)):
        status, out, _ = call_main("status", str(tmp_path), *words)
        assert status == 0
        assert SHOWN in out
        assert out.replace("\n", "").isprintable()


@pytest.mark.slow
def test_samples_cannot_steer_a_terminal(run, tmp_path, call_main):
    """Of a shard whose name, keys and captions try to; its manifest and the JSON hold them as they are."""
    pool, name = tmp_path / "pool", "\x1b[31m.tar"
    pool.mkdir()
    caption = HOSTILE.encode()
    write_tar(pool / name, [part for at in range(6) for part in member(f"{at}\x1b[2J", at, caption)])
    run(tar_config(pool, tmp_path / "run", concepts={"clusters": 1}))
    for sample in ("3\x1b[2J", "no \x1b such"):
        _, out, err = call_main("explain", str(tmp_path / "run"), sample)
        assert (out + err).replace("\n", "").isprintable()
        assert r"\x1b" in out + err
    found = json.loads(call_main("explain", str(tmp_path / "run"), "3\x1b[2J", "--json")[1])
    assert (found["key"], found["shard"].rpartition("/")[2]) == ("3\x1b[2J", name)
