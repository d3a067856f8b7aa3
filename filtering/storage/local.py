"""Whole files on a local disk: none is ever seen half written, whoever is killed."""

import contextlib
import errno
import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import BinaryIO

# The end of the name of a temporary file, which a writer that was killed leaves behind.
TEMPORARY = re.compile(r"\.[0-9a-f]{32}\.tmp$")


def write_whole(path: Path, chunks: Iterable[bytes], finish: Callable[[BinaryIO], None] | None = None) -> None:
    """Write a file chunk by chunk, replacing what was there; its folder is made.

    `finish` may write again what it must know all chunks for, before anyone sees the file.
    """
    _written_beside(path, chunks, finish).replace(path)


def create_whole(path: Path, data: bytes) -> bool:
    """Create a file only if none is there and say whether it was created; one of several at once succeeds."""
    temporary = _written_beside(path, (data,))
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    finally:
        temporary.unlink()
    return True


def move_whole(source: Path, target: Path) -> None:
    """Move a file, also to another filesystem, replacing what was there."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        source.replace(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        temporary = _beside(target)
        shutil.copyfile(source, temporary)
        temporary.replace(target)
        source.unlink()


def remove_empty_folders(top: Path, deleted: Iterable[Path]) -> None:
    """Remove the folders inside one that hold nothing any more, of those in which files were deleted."""
    emptied = {folder for path in deleted for folder in path.parents if top in folder.parents}
    for folder in sorted(emptied, key=lambda folder: -len(folder.parts)):
        with contextlib.suppress(OSError):
            folder.rmdir()


def _written_beside(path: Path, chunks: Iterable[bytes], finish: Callable[[BinaryIO], None] | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _beside(path)
    with temporary.open("wb") as file:
        file.writelines(chunks)
        if finish is not None:
            finish(file)
    return temporary


def whole_name(name: str) -> str:
    """Return the name of the file that a temporary file was to become; other names as they are."""
    return TEMPORARY.sub("", name)


def _beside(path: Path) -> Path:
    # Not named by the process: threads write too, and on a network disk other machines.
    return path.with_name(f"{path.name}.{uuid.uuid4().hex}.tmp")
