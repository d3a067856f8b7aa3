"""Why something of a shard cannot be used."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fault:
    """Why something cannot be used: a reason that is counted, and a detail for a person."""

    reason: str
    detail: str


class Damaged(Exception):
    """A stream cannot be read further; `fault` says why."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.fault = Fault(reason, detail)
