"""Ports for processes that are told theirs before they start."""

import contextlib
import itertools
import random
import socket

# Above the ports of Ray's workers, and below those that the kernel gives to outgoing connections and to whoever asks
# for any port: one of these could be taken before the process that is told it has started.
RANGE = range(20_000, 32_768)
TRIED = 100


def free_ports(count: int) -> list[int]:
    """Return different ports of this machine on which nothing listens."""
    with contextlib.ExitStack() as held:
        drawn = random.SystemRandom().sample(RANGE, TRIED)
        return list(itertools.islice((port for port in drawn if _held(port, held)), count))


def _held(port: int, held: contextlib.ExitStack) -> bool:
    """Take a port, if nobody has it, until the others are found."""
    listener = held.enter_context(socket.socket())
    try:
        listener.bind(("", port))
    except OSError:
        return False
    return True
