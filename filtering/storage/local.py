"""Whole files on a local disk: none is ever seen half written, whoever is killed."""

import contextlib
import errno
import os
import re
import shutil
import stat
import tempfile
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from filtering.core.errors import InputError, RunError

# The end of the name of a temporary file, which a writer that was killed leaves behind.
TEMPORARY = re.compile(r"\.[0-9a-f]{32}\.tmp$")
# What a disk that takes no more says; and one that is broken, which reading may meet as well.
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG}
BROKEN = FULL | {errno.EIO}
# What is said of a path that leads nowhere, or nowhere for this user.
ASTRAY = {errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EACCES, errno.EPERM}
NO_FILE = "is no regular file but a pipe, a socket or a device"


class DiskError(RunError):
    """A disk takes no more: it is full, broken or read-only, or the file or what its user has is too large."""


def is_endless(path: str) -> bool:
    """Say whether a path leads to what may be waited for, or read, without end: a pipe, a socket or a device."""
    try:
        mode = Path(path).stat().st_mode
    except (OSError, ValueError):
        # What opens it says why.
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def check_is_file(path: str) -> None:
    """Refuse what is neither a file nor a folder, and is there: InputError."""
    if is_endless(path):
        raise InputError(f"{path} {NO_FILE}")


def disk_error(error: BaseException, folder: Path | None = None, kinds: Collection[int] = FULL) -> DiskError | None:
    """Return what is told of an error of writing into a folder, by default that of the error's file; None of others."""
    if not isinstance(error, OSError) or error.errno is None or error.errno not in kinds:
        return None
    named = Path(str(error.filename)).parent if error.filename else Path(tempfile.gettempdir())
    folder, free = folder or named, "an unknown number of"
    with contextlib.suppress(OSError):
        there = next(one for one in (folder, *folder.parents) if one.exists())
        free = f"{shutil.disk_usage(there).free:,}"
    return DiskError(
        f"{folder}: cannot be written ({os.strerror(error.errno)}), {free} bytes are free there; make room, then give "
        "the same command again"
    )


def path_error(error: BaseException) -> InputError | None:
    """Return what is told of a path that cannot be one, or may not be used; None of other errors."""
    if not isinstance(error, OSError) or error.errno not in ASTRAY or not error.filename:
        return None
    return InputError(f"{error.filename}: cannot be read or written ({os.strerror(error.errno)})")


@contextlib.contextmanager
def writing(folder: Path, kinds: Collection[int] = FULL) -> Iterator[None]:
    """Raise a DiskError that names the folder where a disk takes no more."""
    try:
        yield
    except OSError as error:
        raise disk_error(error, folder, kinds) or error from None


def write_whole(
    path: Path, chunks: Iterable[bytes | memoryview], finish: Callable[[BinaryIO], None] | None = None
) -> None:
    """Write a file chunk by chunk, replacing what was there; its folder is made.

    `finish` may write again what it must know all chunks for, before anyone sees the file.
    """
    with _temporary(path) as temporary:
        _fill(temporary, chunks, finish)
        temporary.replace(path)


def create_whole(path: Path, data: bytes) -> bool:
    """Create a file only if none is there and say whether it was created; one of several at once succeeds."""
    with _temporary(path) as temporary:
        _fill(temporary, (data,))
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
    return True


def move_whole(source: Path, target: Path) -> None:
    """Move a file, also to another filesystem, replacing what was there."""
    with writing(target.parent):
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            source.replace(target)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            with _temporary(target) as temporary:
                shutil.copyfile(source, temporary)
                temporary.replace(target)
            source.unlink()


def append_line(path: Path, line: str) -> None:
    """Append a line to a file; its folder is made."""
    with writing(path.parent, BROKEN):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")


def remove_empty_folders(top: Path, deleted: Iterable[Path]) -> None:
    """Remove the folders inside one that hold nothing any more, of those in which files were deleted."""
    emptied = {folder for path in deleted for folder in path.parents if top in folder.parents}
    for folder in sorted(emptied, key=lambda folder: -len(folder.parts)):
        with contextlib.suppress(OSError):
            folder.rmdir()


def whole_name(name: str) -> str:
    """Return the name of the file that a temporary file was to become; other names as they are."""
    return TEMPORARY.sub("", name)


@contextlib.contextmanager
def _temporary(path: Path) -> Iterator[Path]:
    """Give a name beside a file's to write under; what still has it when the context is left is removed."""
    # Not named by the process: threads write too, and on a network disk other machines.
    temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex}.tmp")
    with writing(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink()


def _fill(path: Path, chunks: Iterable[bytes | memoryview], finish: Callable[[BinaryIO], None] | None = None) -> None:
    with path.open("wb") as file:
        for chunk in chunks:
            # Not around all: chunks may be read from a disk, too.
            with writing(path.parent, BROKEN):
                file.write(chunk)
        with writing(path.parent, BROKEN):
            if finish is not None:
                finish(file)
            file.flush()
