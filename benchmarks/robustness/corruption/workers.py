"""Trials in several processes, each with a run of its own over the same pool."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from benchmarks.robustness.corruption.bench import INPUT, Bench, Case, Trial

# The one of this process.
BENCHES: list[Bench] = []


def trials_of(bench: Bench, cases: Sequence[Case], processes: int) -> Iterator[Trial]:
    """Yield the trials of cases; those of the pool, which all processes share, are the last and by this process."""
    apart = [case for case in cases if case.stage != INPUT] if processes > 1 else []
    if apart:
        arguments = (bench.folder, bench.kind, bench.seed)
        with ProcessPoolExecutor(processes, get_context("spawn"), _begin, arguments) as pool:
            yield from pool.map(_trial, apart)
    yield from (bench.trial(case) for case in cases if not apart or case.stage == INPUT)


def _begin(folder: Path, kind: str, seed: int) -> None:
    BENCHES.append(Bench(folder, kind, seed, str(os.getpid())))


def _trial(case: Case) -> Trial:
    return BENCHES[0].trial(case)
