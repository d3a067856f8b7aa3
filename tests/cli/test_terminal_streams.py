"""Outputs that lack characters, are full, or that nobody reads: as processes, for they decide these."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from processes import command

from filtering.cli.streams import Output, Unfailing

ASCII = {"PYTHONIOENCODING": "ascii"}
LATIN = {"PYTHONIOENCODING": "latin-1"}
# The C locale without Python's UTF-8 mode.
PLAIN = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.fixture
def run(tmp_path):
    """A run that failed, with an error of many scripts."""
    lines = [
        {"time": 1.0, "event": "run_started"},
        {"time": 2.0, "event": "run_failed", "error": "RunError", "detail": "Kätzchen … 猫"},
    ]
    (tmp_path / "events.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return str(tmp_path)


def call(words, stdout=subprocess.PIPE, close=(), **environment):
    def shut():
        for stream in close:
            os.close(stream)

    given = {"env": os.environ | environment, "stdout": stdout, "stderr": subprocess.PIPE}
    done = subprocess.run(command(*words), preexec_fn=shut, timeout=60, check=False, **given)
    return done.returncode, done.stdout, done.stderr.decode()


@pytest.mark.parametrize(
    ("environment", "words"), [(ASCII, b"K?tzchen ? ?"), (LATIN, b"K\xe4tzchen ? ?"), (PLAIN, b"K?tzchen ? ?")]
)
def test_characters_that_the_terminal_lacks_are_replaced(run, environment, words):
    status, out, err = call(["status", run], **environment)
    assert (status, err) == (0, "")
    assert words in out


def test_nobody_reads_the_result(run):
    reading, writing = os.pipe()
    os.close(reading)
    assert call(["status", run], stdout=writing) == (141, None, "")
    os.close(writing)


def test_the_output_is_full(run):
    with Path("/dev/full").open("wb") as full:
        status, _, err = call(["status", run], stdout=full)
    assert (status, err) == (1, "filtering: stdout: cannot be written (No space left on device)\n")


@pytest.mark.slow
def test_streams_that_are_closed_are_no_reason_to_fail(run):
    assert call(["status", run], close=[1])[::2] == (0, "")
    assert call(["status", run, "--json"], close=[2])[0] == 0
    assert call(["status", f"{run}/nothing"], close=[1, 2])[0] == 2


def test_an_error_that_nobody_reads_still_has_its_status(run):
    with Path("/dev/full").open("wb") as full:
        words = command("status", f"{run}/nothing")
        assert subprocess.run(words, stdout=full, stderr=full, timeout=60, check=False).returncode == 2


def test_what_is_drawn_fits_an_ascii_terminal(run):
    code = "import io, sys; from filtering.cli.live import LiveReporter\n"
    code += "told = LiveReporter(); told.console._force_terminal = True\n"
    code += "told.start('embedding', 8, 'shards'); told.advance(3, '…'); told.finish('猫 …'); told.stop()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=os.environ | ASCII, check=False)
    assert done.returncode == 0
    assert done.stderr.isascii()


def test_a_wrapper_may_outlive_its_stream():
    stream = io.StringIO()
    for wrapper in (Output(stream), Unfailing(stream)):
        wrapper.close()
        assert wrapper.write("still open")
    stream.close()
    # As Python closes what it collects.
    for wrapper in (Output(stream), Unfailing(stream)):
        wrapper.close()
