"""The files of a model on this disk; those of a URL are copied there."""

import os

from filtering.core.errors import InputError, RunError, first_line
from filtering.embedding.weights import check_weights
from filtering.storage.local import NO_FILE, is_endless


def local_weights(key: str, path: str) -> str:
    """Return the path of weights on this disk, of a URL that of a copy; InputError, with the key, if they are none."""
    local = local_file(key, path)
    check_weights(key, local)
    return local


def local_file(key: str, path: str) -> str:
    """Return the path of a file on this disk, of a URL that of a copy; InputError, with the key, if it is none."""
    if "://" in path:
        return _downloaded(key, path)
    path = os.path.expanduser(path)  # noqa: PTH111
    if is_folder(path):
        raise InputError(f"{key}: {path} is a folder; name the file in it")
    if is_endless(path):
        raise InputError(f"{key}: {path} {NO_FILE}")
    if not is_file(path):
        raise InputError(f"{key}: {path} is not there")
    return path


def _downloaded(key: str, url: str) -> str:
    # Storage brings numpy and pyarrow along, which what is on this disk does without.
    from filtering.storage.local_copy import local_copy

    try:
        return local_copy(url)
    except FileNotFoundError:
        raise InputError(f"{key}: {url} is not there") from None
    except RunError:
        raise
    except Exception as error:
        # Each store has errors of its own: for names that it cannot have, packages that it needs, who may not read it.
        reason = str(error) if isinstance(error, InputError) else f"{url}: cannot be read ({first_line(error)})"
        raise InputError(f"{key}: {reason}") from error


def is_file(path: str) -> bool:
    """Return whether a path leads to a file; False, where pathlib would raise, if it is none that can be."""
    return os.path.isfile(path)  # noqa: PTH113


def is_folder(path: str) -> bool:
    """Return whether a path leads to a folder."""
    return os.path.isdir(path)  # noqa: PTH112
