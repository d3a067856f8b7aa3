"""What is fuzzed: a kind makes inputs, each from random numbers alone, and reads them as the product does."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.support.mutations import Noise

ACCEPTED = "accepted"


class Wrong(Exception):
    """An input that was read without an error, and not as what it is."""


class Raw(Exception):
    """An input that ended a command by an error that is not the project's own; the message is what it said."""


class Refused(Exception):
    """An input that was refused as it must be; the message is the reason, in a few words."""


@dataclass(frozen=True, slots=True)
class Input:
    """Bytes to read: the valid `form` they were made of, and how they were changed.

    `name` is where they belong, with kinds whose inputs are read at more than one place; `consistent` says that they
    are a valid file of other values.
    """

    form: str
    change: str
    data: bytes
    name: str = ""
    consistent: bool = False


class Kind(ABC):
    """One sort of input. Its constructor makes all valid forms by name, the same ones in every process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.forms: dict[str, bytes] = {}

    @abstractmethod
    def make(self, noise: Noise) -> Input:
        """Return the input that random numbers lead to."""

    @abstractmethod
    def read(self, given: Input) -> str:
        """Read an input and return `ACCEPTED` or the reason of a quarantine.

        Refused or the project's own errors where it is refused, Wrong where something is not as it must be; all others
        are raw.
        """


def most_common(reasons: Iterable[str]) -> str:
    """Return the reason that most samples of an input have, `ACCEPTED` if there is none."""
    counts = Counter(reasons)
    return min(counts, key=lambda reason: (-counts[reason], reason)) if counts else ACCEPTED


def must(holds: bool, otherwise: str, error: type[Exception] = Wrong) -> None:
    """Raise an error unless something holds."""
    if not holds:
        raise error(otherwise)
