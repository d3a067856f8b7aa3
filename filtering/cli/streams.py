"""The program's streams: an output that lacks characters, is full, or that nobody reads any more."""

import contextlib
import io
import os
import sys
from pathlib import Path
from typing import TextIO

# What shells report of a program that was ended because nobody reads its output: 128 and the number of SIGPIPE.
UNREAD = 141


class UnwrittenError(Exception):
    """The result could not be written; its cause is the error of the stream."""


class Wrapped(io.TextIOBase):
    """A stream whose errors its subclasses answer."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """Its encoding, by which it is decided what can be drawn."""
        return self.stream.encoding

    def isatty(self) -> bool:
        """Say whether it is a terminal."""
        return self.stream.isatty()

    def fileno(self) -> int:
        """Return its descriptor."""
        return self.stream.fileno()

    def close(self) -> None:
        """Do nothing: the stream is others'.

        Python closes what it collects, and by default that flushes: a stream that is closed by then would be an error,
        which Python 3.13 prints.
        """


class Unfailing(Wrapped):
    """A terminal that may be closed under a run, which is no reason for the run to fail."""

    def write(self, text: str) -> int:
        """Write text, as far as anybody reads it."""
        with contextlib.suppress(OSError):
            self.stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Write what is buffered, as far as anybody reads it."""
        with contextlib.suppress(OSError):
            self.stream.flush()


class Output(Wrapped):
    """The stream of the result: its errors are not taken for those of the work, UnwrittenError."""

    def write(self, text: str) -> int:
        """Write text."""
        try:
            return self.stream.write(text)
        except OSError as error:
            raise UnwrittenError from error

    def flush(self) -> None:
        """Write what is buffered."""
        try:
            self.stream.flush()
        except OSError as error:
            raise UnwrittenError from error


def prepare() -> None:
    """Let stdout take every character, `?` for those that its encoding lacks, and replace streams that are closed."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            # Opened at once: else the next file that is opened is taken for the stream by libraries that print.
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def abandon(stream: TextIO) -> None:
    """Let a stream that cannot be written lead nowhere: else Python tries again when it ends, and complains."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
