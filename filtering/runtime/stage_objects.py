"""The objects that a stage leaves in its folder: which there must be, and whether they are as they were written.

A task's record lists the objects that it wrote; when the stage is done, one table lists those of all tasks. Objects
that a later step has read for the last time are deleted: a mark, written before, says which those are.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import pyarrow as pa

from filtering.core.errors import DamagedError
from filtering.runtime.shuffle import check_groups, moved_groups
from filtering.storage.checksums import MissingError, check, has_slot, moved
from filtering.storage.local import whole_name
from filtering.storage.reading import read_rows
from filtering.storage.store import MARKER, Store

# By the stage's fingerprint: the names and bytes of its objects.
INDEX_NAME = "{}.objects.parquet"
RECORD_SUFFIX = ".stage.json"
# The bytes of an object that is only known to be there: a marker, which holds what was measured.
UNKNOWN = -1
# Objects read at once where all of a stage are checked.
READERS = 32
# Folders listed at once, whose pages are then read by one thread.
FOLDERS_AT_ONCE = 4
SUFFIX_MARK, FOLDER_MARK, MARK = "consumed-all", "consumed-folder-", ".mark"
SCHEMA = pa.schema([("name", pa.string()), ("bytes", pa.int64())])


@dataclass(frozen=True, slots=True)
class Consumed:
    """What of a stage's objects was deleted on purpose: by the end of their names, or by their folder's name."""

    suffixes: tuple[str, ...]
    folders: tuple[str, ...]

    @classmethod
    def of(cls, present: Iterable[str]) -> "Consumed":
        """Return what the marks among the names in a folder say."""
        marks = [name.removesuffix(MARK) for name in present if name.endswith(MARK)]
        suffixes, folders = (
            tuple(mark.removeprefix(kind) for mark in marks if mark.startswith(kind))
            for kind in (SUFFIX_MARK, FOLDER_MARK)
        )
        return cls(suffixes, folders)

    def __bool__(self) -> bool:
        """Say whether anything was deleted."""
        return bool(self.suffixes or self.folders)

    def has(self, name: str) -> bool:
        """Say whether an object was deleted on purpose."""
        return name.endswith(self.suffixes) or name.partition("/")[0] in self.folders


def consume(store: Store, suffix: str) -> None:
    """Delete the objects of a stage that end in `suffix`, which nobody reads again."""
    store.write_record(_suffix_mark(suffix), {})
    store.delete_all(suffix)


def check_not_consumed(store: Store, suffix: str) -> None:
    """Check, where the objects of another stage are read by listing them, that they are not being deleted, or gone.

    MissingError if they are: that stage then runs again.
    """
    if store.exists(_suffix_mark(suffix)):
        raise MissingError(store.path(f"*{suffix}"), "is missing, as it had been read for the last time")


def _suffix_mark(suffix: str) -> str:
    return f"{SUFFIX_MARK}{suffix}{MARK}"


def consume_folder(store: Store, name: str) -> None:
    """Delete a folder of a stage's objects, which nobody reads again."""
    store.write_record(f"{FOLDER_MARK}{name}{MARK}", {})
    store.delete_folder(name)


def names_inside(store: Store, written: Mapping[str, int]) -> dict[str, int]:
    """Return those of some objects, URLs with their bytes, that are in a stage's folder, by their names there.

    Markers, which a driver writes that runs tasks itself, are left out: they are no objects of the stage's own.
    """
    top, inside = store.path(""), written.items()
    return {url.removeprefix(top): size for url, size in inside if url.startswith(top) and not url.endswith(MARKER)}


def write_index(store: Store, fingerprint: str, objects: Mapping[str, int], with_earlier: bool) -> None:
    """Write the names and bytes of a stage's objects, those excepted that were deleted meanwhile.

    With `with_earlier` they are completed by those that earlier attempts left in the stage's folder.
    """
    present = store.sizes()
    consumed, earlier = Consumed.of(present), _whole(present) if with_earlier else {}
    left = {name: size for name, size in sorted({**earlier, **objects}.items()) if not consumed.has(name)}
    store.write_table(INDEX_NAME.format(fingerprint), pa.table([list(left), list(left.values())], schema=SCHEMA))


def _whole(present: Mapping[str, int]) -> dict[str, int]:
    """Return objects that are present, but for markers, lists of objects and what was half written."""
    apart = (MARKER, RECORD_SUFFIX, INDEX_NAME.format(""))
    return {name: size for name, size in present.items() if whole_name(name) == name and not name.endswith(apart)}


def read_index(store: Store, fingerprint: str) -> dict[str, int]:
    """Return the names and bytes of a finished stage's objects; DamagedError if they are not known."""
    table = read_rows(store, INDEX_NAME.format(fingerprint), SCHEMA)
    names = table["name"].to_pylist()
    if odd := [name for name in names if not _is_name(name)]:
        raise DamagedError(store.path(INDEX_NAME.format(fingerprint)), f"is damaged: it lists {odd[0]!r}")
    return dict(zip(names, table["bytes"].to_pylist(), strict=True))


def _is_name(name: str) -> bool:
    """Return whether an object inside a folder, or inside one of its own, can have a name."""
    return "\0" not in name and all(
        0 < len(part.encode()) < 256 and part not in (".", "..") for part in name.split("/")
    )


def faults(
    expected: Mapping[str, int], present: Mapping[str, int], consumed: Consumed
) -> Iterator[tuple[str, str | None]]:
    """Yield the objects that are missing or have another size, with what is wrong; None for a missing one."""
    for name, size in expected.items():
        found = present.get(name)
        if (found is None or size not in (UNKNOWN, found)) and not consumed.has(name):
            yield name, None if found is None else f"is damaged ({found:,} bytes where {size:,} were written)"


def raise_first(store: Store, found: Iterable[tuple[str, str | None]]) -> None:
    """Raise the first of some faults, DamagedError; nothing happens if there is none."""
    for name, fault in found:
        raise MissingError(store.path(name)) if fault is None else DamagedError(store.path(name), fault)


class Listings:
    """What lies in the folders of a run's stages, several of them listed at once, before the stages are gone through.

    A listing is handed out once: whoever asks again, after something was made again, lists the folder as it is then.
    """

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(FOLDERS_AT_ONCE, thread_name_prefix="listing")
        self._found: dict[str, Future[dict[str, int]]] = {}

    def begin(self, stages: Store) -> None:
        """Begin to list the folders that are inside."""
        for name in stages.names():
            folder = stages.child(name)
            self._found[folder.url] = self._threads.submit(folder.sizes)

    def sizes(self, folder: Store) -> dict[str, int]:
        """Return the bytes of every object in the folder of a stage."""
        begun = self._found.pop(folder.url, None)
        return folder.sizes() if begun is None else begun.result()

    def stop(self) -> None:
        """List nothing more ahead, and forget what was listed."""
        self._found.clear()
        self._threads.shutdown(wait=False, cancel_futures=True)


def check_stage(store: Store, fingerprint: str, present: Mapping[str, int]) -> None:
    """Check that a finished stage's objects are there; DamagedError names the first that is not.

    `present` are the bytes of the objects in its folder.
    """
    raise_first(store, faults(read_index(store, fingerprint), present, Consumed.of(present)))


def damaged_objects(store: Store, fingerprint: str) -> Iterator[DamagedError]:
    """Read every object of a finished stage, and yield what is wrong with those that are damaged or missing."""
    try:
        yield from damaged_of(store, list(objects_left(store, fingerprint)))
    except DamagedError as error:
        yield error


def objects_left(store: Store, fingerprint: str) -> dict[str, int]:
    """Return the names and bytes of the objects that a finished stage has now; DamagedError if they are not known."""
    store.read_checked(f"{fingerprint}{RECORD_SUFFIX}")
    consumed = Consumed.of(store.names(MARK))
    return {name: size for name, size in read_index(store, fingerprint).items() if not consumed.has(name)}


def damaged_of(store: Store, names: Sequence[str]) -> list[DamagedError]:
    """Read some objects of a stage, and return what is wrong with those that are damaged or missing."""
    with ThreadPoolExecutor(READERS, thread_name_prefix="check") as readers:
        return [error for error in readers.map(partial(_fault, store), names) if error]


def faults_of(store: Store, names: Sequence[str]) -> list[tuple[str, str]]:
    """Return the URLs of the damaged or missing ones of some objects, with what is wrong: the result of a task."""
    return [(error.url, error.fault) for error in damaged_of(store, names)]


def _fault(store: Store, name: str) -> DamagedError | None:
    """Return what is wrong with an object, None if nothing is."""
    try:
        if not store.is_checked(name):
            check_groups(store, name)
    except DamagedError as error:
        return error
    return None


def copy_object(store: Store, name: str, source: Store) -> int:
    """Copy an object of another run's stage, checked as it is read; return its bytes."""
    url, before, data = store.path(name), source.path(name), source.read_present(name)
    if has_slot(data):
        check(before, data)
        data = moved(url, data)
    else:
        data = moved_groups(url, before, data)
    store.write(name, data)
    return len(data)


def forget_object(store: Store, name: str) -> None:
    """Let a stage make an object again: delete it, and before it what says that it is there.

    Where objects were deleted on purpose, those that the object was made from may be among them: the whole stage is
    forgotten.
    """
    if Consumed.of(store.names(MARK)):
        forget_stage(store)
        return
    store.delete_all(RECORD_SUFFIX)
    store.delete(name)


def forget_stage(store: Store) -> None:
    """Delete all that a stage has written: what says that it is done goes first, then what says that tasks are."""
    store.delete_all(RECORD_SUFFIX)
    store.delete_all(MARKER)
    store.delete_folder("")
