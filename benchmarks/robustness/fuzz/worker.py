"""The process that reads inputs: whatever one of them does, the process that counts goes on."""

import contextlib
import os
import resource
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from benchmarks.robustness.fuzz.kinds import Input, Kind, Raw, Refused, Wrong
from filtering.core.errors import FilteringError
from filtering.runtime.worker import peak_memory_bytes, reset_peak_memory
from tests.support.mutations import Noise

RAW, WRONG, SLOW, HUGE, CRASH = "RAW", "WRONG", "SLOW", "HUGE", "CRASH"
BAD = (RAW, CRASH, SLOW, HUGE, WRONG)
# Of this process's CPUs, whatever else runs on the machine; and of memory more than before.
MAX_SECONDS, MAX_GROWTH_BYTES = 5.0, 1 << 30
# Memory that cannot be had at all: the machine goes on.
MAX_DATA_BYTES = 12 << 30
CURRENT = "current"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of an input: its number, one of `BAD`, `ACCEPTED` or a reason, and what was said or went wrong."""

    number: int
    form: str
    change: str
    outcome: str
    detail: str = ""


def noise_of(seed: int, kind: str, number: int) -> Noise:
    """Return the random numbers of an input, which decide all of it."""
    return Noise(f"{seed} {kind} {number}")


def serve(
    connection: Connection, make: Callable[[Path], Kind], name: str, seed: int, numbers: range, work: str
) -> None:
    """Read inputs and send the number of each before, and its outcome after it."""
    resource.setrlimit(resource.RLIMIT_DATA, (MAX_DATA_BYTES, MAX_DATA_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    warnings.simplefilter("ignore")
    kind = make(Path(work))
    with _silent(Path(work)):
        for number in numbers:
            given = kind.make(noise_of(seed, name, number))
            (Path(work) / CURRENT).write_bytes(given.data)
            connection.send((number, given.form, given.change))
            connection.send(_outcome(kind, given, number))
            # Until its bytes are saved, if they are to be.
            connection.recv()
    connection.close()


@contextlib.contextmanager
def _silent(work: Path) -> Iterator[None]:
    """Send what libraries write to stderr, in C too, to a file: decoders complain of every input."""
    before = os.dup(2)
    with (work / "stderr").open("wb") as file:
        os.dup2(file.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(before, 2)


def _outcome(kind: Kind, given: Input, number: int) -> Outcome:
    reset_peak_memory()
    held, started = peak_memory_bytes(), time.process_time()
    outcome, detail = _read(kind, given)
    seconds, grown = time.process_time() - started, peak_memory_bytes() - held
    if outcome not in BAD and seconds > MAX_SECONDS:
        outcome, detail = SLOW, f"{seconds:.1f} s of CPU; {outcome} {detail}"
    if outcome not in BAD and grown > MAX_GROWTH_BYTES:
        outcome, detail = HUGE, f"{grown >> 20:,} MiB; {outcome} {detail}"
    return Outcome(number, given.form, given.change, outcome, detail)


def _read(kind: Kind, given: Input) -> tuple[str, str]:
    try:
        return kind.read(given), ""
    except Refused as refused:
        return f"refused: {refused}", ""
    except (Raw, Wrong) as error:
        return RAW if isinstance(error, Raw) else WRONG, str(error)
    except FilteringError as error:
        lines = [str(line) for line in error.args]
        sound = error.exit_status == 2 and str(error) and not any("\n" in line for line in str(error).split("\n"))
        return f"refused: {type(error).__name__}" if sound else WRONG, " / ".join(lines)
    except BaseException as error:
        return RAW, "".join(traceback.format_exception(error))
