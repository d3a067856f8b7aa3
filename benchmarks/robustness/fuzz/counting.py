"""The process that counts: it starts the one that reads, and another when that one dies."""

import argparse
import importlib
import multiprocessing
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

from benchmarks.lib.tables import Row
from benchmarks.robustness.fuzz.kinds import ACCEPTED, Kind
from benchmarks.robustness.fuzz.worker import BAD, CRASH, CURRENT, SLOW, Outcome, serve

# An input is given up after so many seconds, on a machine however busy; starting takes what it takes.
PATIENCE_SECONDS = 180.0
FIRST_PATIENCE_SECONDS = 600.0
# Of each bad outcome.
SAVED = 10


class Tally:
    """Counts of one kind's inputs, and the bad ones that were saved."""

    def __init__(self, name: str, save: Path) -> None:
        self.name, self.save = name, save
        self.reasons: Counter[str] = Counter()
        self.bad: list[str] = []
        self.seconds = 0.0

    def add(self, one: Outcome, data: Path) -> None:
        """Count an outcome, and save its input if it is one of the first bad ones."""
        self.reasons[one.outcome] += 1
        if one.outcome in BAD and self.reasons[one.outcome] <= SAVED:
            self.save.mkdir(parents=True, exist_ok=True)
            path = self.save / f"{self.name}-{one.number}-{one.outcome}"
            shutil.copyfile(data, path)
            path.with_suffix(".txt").write_text(f"{one.form}\n{one.change}\n{one.detail}\n", errors="replace")
            last = one.detail.strip().splitlines() or [""]
            self.bad.append(f"{one.outcome} {path}: {one.form}; {one.change}; {last[-1][:300]}")

    def figures(self) -> Row:
        """Return the counts as one row."""
        inputs, bad = self.reasons.total(), {name: self.reasons[name] for name in BAD}
        accepted = self.reasons[ACCEPTED]
        refused = inputs - accepted - sum(bad.values())
        row = {"kind": self.name, "inputs": inputs, "accepted": accepted, "refused": refused, **bad}
        return {**row, "seconds": round(self.seconds, 1), "reasons": dict(self.reasons)}


def tallied(tally: Tally, place: str, work: Path, given: argparse.Namespace) -> None:
    """Read the inputs of a kind and count how they end."""
    started, end = time.monotonic(), given.first + given.count
    number = given.first
    while number < end and time.monotonic() - started < given.seconds:
        for one in _outcomes(tally.name, place, given.seed, range(number, end), work):
            tally.add(one, work / CURRENT)
            number = one.number + 1
            if time.monotonic() - started > given.seconds:
                break
    tally.seconds = time.monotonic() - started


def _outcomes(name: str, place: str, seed: int, numbers: range, work: Path) -> Iterator[Outcome]:
    """Yield outcomes until the process that reads inputs has read all, or dies: then that of its last one."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(theirs, Maker(place), name, seed, numbers, str(work)))
    process.start()
    theirs.close()
    try:
        yield from _received(ours, numbers)
    finally:
        process.kill()
        process.join()


def _received(connection: Connection, numbers: range) -> Iterator[Outcome]:
    begun: tuple[int, str, str] | None = None
    patience = FIRST_PATIENCE_SECONDS
    done = numbers.start
    while done < numbers.stop:
        try:
            if not connection.poll(patience):
                raise TimeoutError
            received = connection.recv()
        except (EOFError, OSError) as error:
            if begun is None:
                raise RuntimeError("the process that reads inputs does not start") from None
            outcome = SLOW if isinstance(error, TimeoutError) else CRASH
            yield Outcome(*begun, outcome, "no answer" if outcome == SLOW else "the process died")
            return
        patience = PATIENCE_SECONDS
        if isinstance(received, Outcome):
            begun, done = None, received.number + 1
            # The next input is written only when this one is saved.
            yield received
            connection.send(None)
        else:
            begun = received


class Maker:
    """Makes a kind that is named by module and class, in the process that reads: each needs libraries of its own."""

    def __init__(self, place: str) -> None:
        self.place = place

    def __call__(self, folder: Path) -> Kind:
        """Return the kind."""
        module, name = self.place.split(".")
        made: Kind = getattr(importlib.import_module(f"{__package__}.{module}"), name)(folder)
        return made
