import signal
import subprocess
import sys

import pytest
from processes import heeding

SWALLOWED = """
import os, signal, sys
from filtering.runtime import signals
ignored = sys.argv[2] == "ignored"
if ignored:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
signals.listen()
try:
    os.kill(os.getpid(), int(sys.argv[1]))
    [None for _ in range(1000)]
except KeyboardInterrupt:
    # As a library may.
    print("interrupted")
try:
    signals.check()
except KeyboardInterrupt:
    print("known")
signals.check()
"""


@pytest.mark.parametrize(
    ("number", "before", "said"),
    [
        (signal.SIGINT, "", ["interrupted", "known"]),
        (signal.SIGTERM, "", ["interrupted", "known"]),
        (signal.SIGHUP, "", ["interrupted", "known"]),
        # nohup
        (signal.SIGHUP, "ignored", []),
    ],
)
def test_a_request_to_end_is_known_once_even_if_its_interrupt_was_swallowed(number, before, said):
    line = [sys.executable, "-c", SWALLOWED, str(int(number)), before]
    ended = subprocess.run(line, capture_output=True, text=True, check=False, preexec_fn=heeding)
    assert (ended.returncode, ended.stdout.split(), ended.stderr) == (0, said, "")
