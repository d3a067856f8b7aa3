"""A function for processes of their own, which import nothing else of the tests."""

from threading import Barrier


def passed(part: int, gate: Barrier) -> float:
    gate.wait(60)
    return float(part)
