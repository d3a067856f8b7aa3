import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from processes import command, heeding

from filtering.manifests import verify

ROOT = Path(__file__).parents[2]


def test_nothing_heavy_is_imported_before_a_command_needs_it():
    heavy = ["numpy", "pydantic", "rich", "ray", "torch", "fsspec", "pyarrow", "yaml"]
    code = (
        "import sys; from filtering.cli import main; main([])\n"
        "from filtering.cli.parser import new_parser; new_parser().format_help()\n"
        f"sys.exit(' '.join(name for name in {heavy} if name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "\n")


def test_what_a_library_prints_stays_off_stdout(metadata_run, call_main, monkeypatch):
    def noisy(run):
        print("a notice of a library")
        return iter(())

    monkeypatch.setattr(verify, "problems", noisy)
    status, out, err = call_main("verify", str(metadata_run), "--json")
    assert status == 0
    assert json.loads(out)["ok"] is True
    assert "a notice of a library" in err


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (("status", "/nowhere/run"), 2),
        (("run", "--config", "/nowhere.yaml"), 2),
        (("run", "--cofnig", "run.yaml"), 2),
        (("stauts", "run"), 2),
    ],
)
def test_json_holds_an_error_where_a_command_fails(words, status, call_main):
    ended, out, err = call_main(*words, "--json")
    said = json.loads(out)["error"]
    assert (ended, said["exit_status"]) == (status, status)
    assert "".join(f"filtering: {line}\n" for line in said["lines"]) == err


def test_json_holds_an_error_of_the_program_itself(call_main, metadata_run, monkeypatch):
    def broken(run):
        raise ValueError("odd token=Zm9vYmFy at https://host/x?token=Zm9vYmFy")

    monkeypatch.setattr(verify, "problems", broken)
    status, out, _ = call_main("verify", str(metadata_run), "--json")
    assert (status, json.loads(out)["error"]["exit_status"]) == (1, 1)
    assert "?token=***" in out


@pytest.mark.parametrize(
    "words",
    [
        ("status", "s3://key:Zm9vYmFy@bucket/run"),
        ("run", "--config", "https://Zm9vYmFy@127.0.0.1:9/run.yaml"),
        ("run", "--config", "run.yaml", "--set", "output=https://127.0.0.1:9/x?X-Amz-Signature=Zm9vYmFy"),
        ("report", "runs/first", "--out=https://127.0.0.1:9/x?sig=Zm9vYmFy"),
    ],
)
def test_a_secret_on_the_command_line_is_refused_and_not_repeated(words, call_main):
    status, out, err = call_main(*words)
    assert status == 2
    assert "holds credentials" in err and len(err.splitlines()) == 1
    assert "Zm9vYmFy" not in out + err


def test_a_traceback_has_no_secrets(call_main, monkeypatch, metadata_run):
    def refused(run):
        raise ConnectionError("no answer of https://host/x?token=Zm9vYmFy")

    monkeypatch.setattr(verify, "problems", refused)
    status, _, err = call_main("verify", str(metadata_run), "--debug")
    assert status == 1
    assert "Traceback" in err and "token=***" in err and "Zm9vYmFy" not in err


def test_a_terminal_obeys_nothing_in_a_traceback(call_main, monkeypatch, metadata_run):
    def refused(run):
        raise ConnectionError("first \x1b[2J\x9b31m\rline\nand \x1b]0;title\x07another \u202e")

    monkeypatch.setattr(verify, "problems", refused)
    _, _, err = call_main("verify", str(metadata_run), "--debug")
    assert "ConnectionError: first \\x1b[2J\\x9b31m\\rline\nand \\x1b]0;title\\x07another \\u202e\n" in err
    assert all(one == "\n" or one.isprintable() for one in err)


@pytest.mark.parametrize("start", [["-m", "filtering", "run"], ["jobs/run.py"], ["jobs/nightly.py"]])
def test_a_python_that_lacks_what_the_package_needs_is_named(start, tmp_path):
    (tmp_path / "pydantic.py").write_text("raise ModuleNotFoundError(\"No module named 'pydantic'\")")
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    line = [sys.executable, *start, "--config", "run.yaml"]
    failed = subprocess.run(
        line, cwd=ROOT, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, check=False
    )
    assert failed.returncode == 1
    (said,) = failed.stderr.splitlines()
    assert said.startswith(f"filtering: No module named 'pydantic': this command runs {sys.executable} (Python 3.")
    assert "docker/Dockerfile" in said


@pytest.mark.parametrize(
    ("module", "status", "said"),
    [
        # While the program itself is imported; while the commands are.
        ("filtering.cli.parser", -signal.SIGINT, ""),
        ("filtering.cli.export", 130, "filtering: stopped\n"),
    ],
)
def test_ctrl_c_shows_no_traceback_while_the_program_starts(tmp_path, module, status, said):
    # Its own site, in which an import of that module is met by Ctrl-C.
    (tmp_path / "sitecustomize.py").write_text(
        "import os, signal, sys\n"
        "class Stop:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name == {module!r}:\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Stop())\n"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    ended = subprocess.run(
        command("methods"), capture_output=True, text=True, env=environment, check=False, preexec_fn=heeding
    )
    assert (ended.returncode, ended.stderr) == (status, said)


@pytest.mark.parametrize("url", ["https://hooks.slack.com/services/T0/B0/xyzxyz", "https://u:p@host/x"])
def test_a_secret_address_of_a_webhook_is_told_its_own_remedy(call_main, url):
    status, _, err = call_main("run", "--config", "run.yaml", "--set", f"notify.url={url}")
    assert (status, err.rpartition("; ")[2]) == (2, "name an environment variable that holds it in notify.url_env\n")
