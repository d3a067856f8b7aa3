"""Which Python this is, for a person whose command, or whose cluster, runs another one than was meant."""

import platform
import re
import socket
import sys

MISSING = re.compile(r"(?:ModuleNotFoundError|ImportError): ([^\n]+)")
REMEDY = "give every node the image of docker/Dockerfile, or name the Python that has this package"


def this_interpreter() -> str:
    """Return this process's interpreter, its version and its machine, in words."""
    return f"{sys.executable} (Python {platform.python_version()}) on {socket.gethostname()}"


def missing_module(error: BaseException) -> str | None:
    """Return what could not be imported, in Python's words, by an error; None if it says nothing of it."""
    # Ray's errors hold those of its workers in their text, and may be of their type besides.
    if found := MISSING.findall(str(error)):
        return str(found[-1]).strip()
    return str(error) if isinstance(error, ImportError) else None
