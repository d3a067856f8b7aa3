"""What a filter reads of a file beside the pool, kept in its stage: all workers, and a run that is resumed, agree."""

from collections.abc import Callable
from typing import Protocol, TypeVar

from filtering.storage.store import Store
from filtering.storage.versions import WHILE_READ, WRITTEN_AGAIN, changed_error, deletion_refused

C = TypeVar("C")


class StoredContent(Protocol[C]):
    """An object with the content of a file: a list, or the layers of a head."""

    @property
    def store(self) -> Store:
        """The folder of the object."""

    @property
    def name(self) -> str:
        """The object's name."""

    def read(self) -> C:
        """Return the content."""

    def write(self, content: C) -> None:
        """Write the content."""


def keep(
    stored: StoredContent[C], url: str, read: Callable[[], C], identity_of: Callable[[C], str], identity: str
) -> None:
    """Write what `read` returns of a file, unless the object is there already.

    RunError if it is another one than that of `identity`, by which the stage is named, or has been deleted.
    """
    there = stored.store.exists(stored.name)
    with deletion_refused(url):
        content = stored.read() if there else read()
    if identity_of(content) != identity:
        raise changed_error(url, WRITTEN_AGAIN, WHILE_READ)
    if not there:
        stored.write(content)
