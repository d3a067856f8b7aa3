"""The errors a person may see: a line for each mistake, with the exit status of the command line."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from filtering.core.formatting import shortened
from filtering.core.secrets import redacted
from filtering.core.visible import visible

# A line quotes names, which may have any length; this is more than a sentence and a path.
MAX_LINE = 2_000


class FilteringError(Exception):
    """Base of every error the package raises on purpose; it is raised with its lines.

    A line quotes names and messages of others: secrets in URLs are masked, what would break it, or what a terminal
    obeys, is written out, and the middle of one that is too long is left out.
    """

    exit_status = 1

    def __str__(self) -> str:
        """Return its lines."""
        return "\n".join(shortened(visible(redacted(str(line))), MAX_LINE) for line in self.args)


class InputError(FilteringError, ValueError):
    """What the user gave is wrong: a configuration key, a path, an array. Exit status 2; a line for each mistake."""

    exit_status = 2


class RunError(FilteringError, RuntimeError):
    """The run itself failed: a task kept dying, a check did not hold. Exit status 1."""


MAKE_ANEW = "give the command of that run again, which makes it anew"


class DamagedError(RunError):
    """An object of a run that does not hold what was written, is not what its name promises, or is not there.

    Exit status 2, as of other wrong input: the work did not fail, what it was to read is wrong.
    """

    exit_status = 2

    def __init__(self, url: str, fault: str, remedy: str = MAKE_ANEW) -> None:
        super().__init__(f"{url}: {fault}; {remedy}")
        self.url, self.fault, self.remedy = url, fault, remedy

    def __reduce__(self) -> tuple[type["DamagedError"], tuple[str, str, str]]:
        """Return how it is brought from a worker to the driver."""
        return type(self), (self.url, self.fault, self.remedy)


class Mistakes:
    """Collects the lines of InputErrors, so that all mistakes are said at once."""

    def __init__(self, lines: Iterable[str] = ()) -> None:
        self.lines = list(lines)

    @contextmanager
    def collected(self) -> Iterator[None]:
        """Take the lines of an InputError that the block raises; the block ends there."""
        try:
            yield
        except InputError as error:
            self.lines += [str(line) for line in error.args if str(line) not in self.lines]

    def refuse(self) -> None:
        """Raise InputError with all lines, if there are any."""
        if self.lines:
            raise InputError(*self.lines)


@contextmanager
def under(key: str) -> Iterator[None]:
    """Let the lines of an InputError that the block raises begin with a key."""
    try:
        yield
    except InputError as error:
        raise InputError(*(f"{key}: {line}" for line in error.args)) from None


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, at most 200 characters, secrets masked; else its type."""
    return redacted(str(error).strip() or type(error).__name__).splitlines()[0][:200]


def one_line(error: Exception) -> str:
    """Return an error's type and text without line breaks, secrets masked."""
    return " ".join(redacted(f"{type(error).__name__}: {error}").split()).removesuffix(":")
