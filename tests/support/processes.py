"""Runs of the command line as processes of their own."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import yaml


def heeding() -> None:
    """Heed the signals that end a process, in a child whose parent may have been started to ignore them."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "filtering", *arguments]


def call(*arguments: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        command(*arguments), capture_output=True, text=True, timeout=240, env=os.environ | environment, check=False
    )


def write_config(path: Path, config: dict) -> str:
    path.write_text(yaml.safe_dump(config))
    return str(path)


def events(run: Path) -> list[dict]:
    """The events of a run so far; a last line that is still being written is left out."""
    try:
        text = (run / "events.jsonl").read_text()
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def kill_in_stage(arguments: Sequence[str], run: Path, stage: str, **environment: str) -> None:
    """Start a run and kill -9 its driver as soon as it says that it has begun the stage."""
    before = len(events(run))
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    driver = subprocess.Popen(command(*arguments), env=os.environ | environment, **quiet)
    try:
        deadline = time.monotonic() + 120
        while not any(e["event"] == "stage_started" and e["stage"] == stage for e in events(run)[before:]):
            assert driver.poll() is None, f"the run ended before stage {stage}"
            assert time.monotonic() < deadline, f"stage {stage} never began"
            time.sleep(0.005)
    finally:
        driver.kill()
        driver.wait()
