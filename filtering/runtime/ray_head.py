"""The head of a Ray of this machine: `ray start` with the arguments given, until stdin ends.

Run by path, as a process of its own, by `local_ray`, which holds the other end of stdin: if that process dies, however
it dies, stdin ends, and this one ends all that it started. It imports nothing of this package.
"""

import os
import signal
import sys
import threading


def _end_with_the_starter() -> None:
    sys.stdin.buffer.read()
    # The answer of `ray start --block`: it ends its processes.
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    threading.Thread(target=_end_with_the_starter, daemon=True).start()
    from ray.scripts.scripts import main

    sys.argv[1:1] = ["start", "--head", "--block"]
    main()
