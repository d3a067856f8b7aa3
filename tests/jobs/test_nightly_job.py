import importlib.util
import os
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pools import metadata_config
from processes import write_config
from web_hook import web_hook

from filtering.manifests.verify import problems
from filtering.storage.store import Store

ROOT = Path(__file__).parents[2]
CRONTAB = (ROOT / "jobs/crontab").read_text()
# What a field of a crontab may hold: see crontab(5).
BOUNDS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
LINE = re.compile(r"((?:[\d*/,-]+ ){5})(\S.*)")
SETTING = re.compile(r"(\w+)=(.*)")


def entries(text):
    """Return the settings of a crontab and its lines (fields, command), as cron reads them."""
    settings, lines = {}, []
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        if setting := SETTING.fullmatch(line):
            # Cron takes no variable in a value, only a pair of quotes around it.
            settings[setting[1]] = setting[2].removeprefix('"').removesuffix('"')
            assert "$" not in setting[2]
            continue
        entry = LINE.fullmatch(line)
        assert entry, f"cron cannot read {line}"
        # An unescaped % would end the command.
        assert "%" not in entry[2]
        lines.append((entry[1].split(), entry[2]))
    return settings, lines


def night():
    return f"{datetime.now(UTC):%Y-%m-%d}"


def nightly_config(pool, folder, **sections):
    return metadata_config(pool, f"{folder}/{{date}}", **sections)


@pytest.fixture(scope="module")
def nightly():
    spec = importlib.util.spec_from_file_location("nightly", ROOT / "jobs/nightly.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("base", "override", "added"),
    [
        ({}, [], ["--set", "base=latest"]),
        ({"base": "s3://runs/2026-11-01"}, [], []),
        ({"base": None}, [], []),
        ({}, ["--set", "base=s3://runs/2026-11-01"], []),
        ({}, ["--set=base=null"], []),
        ({}, ["--set", "selection.keep=0.2", "--debug"], ["--set", "base=latest"]),
        # What is wrong is left to `filtering run`.
        ({"bse": "latest"}, [], []),
    ],
)
def test_a_night_starts_from_the_latest_run_unless_told_otherwise(nightly, tmp_path, base, override, added):
    config = write_config(tmp_path / "nightly.yaml", nightly_config(tmp_path, tmp_path / "runs") | base)
    given = ["--config", config, *override]
    assert nightly.with_base(given) == given + added


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--config", "nowhere.yaml"], "filtering: nowhere.yaml: cannot be read (No such file or directory)"),
        ([], "filtering: the following arguments are required: --config; see filtering run --help"),
    ],
)
def test_wrong_arguments_are_refused_as_those_of_a_run(arguments, line):
    command = [sys.executable, str(ROOT / "jobs/nightly.py"), *arguments]
    refused = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert refused.returncode == 2
    assert refused.stderr.splitlines()[-1] == line


def test_cron_can_read_every_line():
    settings, lines = entries(CRONTAB)
    ((fields, command),) = lines
    for field, (least, most) in zip(fields, BOUNDS, strict=True):
        assert field == "*" or least <= int(field) <= most
    assert CRONTAB.endswith("\n")
    assert set(re.findall(r"\$(\w+)", command)) <= settings.keys()
    assert settings["SHELL"] == "/bin/sh"


def test_a_broken_crontab_would_be_found():
    for broken in ("30 1 * * python x\n", "30 1 * * * date +%F\n", "LOG=$HOME/log\n"):
        with pytest.raises(AssertionError):
            entries(broken)


def as_cron(command, settings, folder):
    """Run a command as cron does: by the shell, with the crontab's settings and next to nothing else."""
    environment = {"HOME": str(Path.home()), "LOGNAME": "nobody", **settings}
    line = [settings["SHELL"], "-c", command]
    return subprocess.run(line, env=environment, cwd=folder, capture_output=True, text=True, timeout=240, check=False)


@pytest.mark.slow
def test_the_crontab_s_line_runs_a_night(metadata_pool, tmp_path):
    settings, [(_, command)] = entries(CRONTAB)
    sections = {"notify": {"url_env": "HOOK_URL"}}
    settings |= {
        "CONFIG": write_config(tmp_path / "nightly.yaml", nightly_config(metadata_pool, tmp_path / "runs", **sections)),
        "LOG": str(tmp_path / "nightly.log"),
        "SECRETS": str(tmp_path / "nightly.env"),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{settings['PATH']}",
    }
    with web_hook() as hook:
        (tmp_path / "nightly.env").write_text(f"HOOK_URL={hook.url}\n")
        done = as_cron(command.replace("/srv/filtering", str(ROOT)), settings, tmp_path)
    log = (tmp_path / "nightly.log").read_text()
    assert done.returncode == 0, log
    # Cron mails what is not in the log.
    assert done.stdout + done.stderr == ""
    run = tmp_path / "runs" / night()
    assert f"manifest  {run}/manifest" in log
    assert list(problems(Store(str(run)))) == []
    assert [(told["state"], told["run"]) for told in hook.payloads] == [("finished", str(run))]
    assert "secret" not in log + (run / "run.json").read_text() + (run / "events.jsonl").read_text()
