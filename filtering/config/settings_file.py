"""Read a configuration file and `--set` overrides as plain data, before anything is validated."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime

import yaml

from filtering.config.aliases import other_names
from filtering.core.errors import InputError
from filtering.storage.store import read_object

DATE = "{date}"


class _Loader(yaml.SafeLoader):
    """Safe YAML that also takes 1e-3 for a number, as YAML 1.2 does."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


def read_settings(path: str, overrides: Sequence[str] = ()) -> dict[str, object]:
    """Return the keys and values of a YAML file, by its path or URL, with `--set KEY=VALUE` overrides applied in order.

    Nothing is validated; today's date (UTC) replaces {date} in `output`. An override replaces the key under its former
    name, too. Raises InputError if the file cannot be read or holds no keys, or an override is malformed.
    """
    data = _read_file(path)
    for override in overrides:
        _override(data, override)
    if isinstance(output := data.get("output"), str):
        data["output"] = output.replace(DATE, f"{datetime.now(UTC):%Y-%m-%d}")
    return data


def _read_file(path: str) -> dict[str, object]:
    try:
        data = yaml.load(read_object(path).decode(), _Loader)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"{path}: is not YAML ({' '.join(str(error).split())})") from None
    if not isinstance(data, dict):
        raise InputError(f"{path}: must hold keys and values, such as 'output: runs/first'")
    return data


def _override(data: dict[str, object], override: str) -> None:
    key, equals, value = override.partition("=")
    if not equals or not key:
        raise InputError(f"--set {override}: must read KEY=VALUE, such as selection.keep=0.3")
    *parents, last = key.split(".")
    section = data
    for parent in parents:
        if section.get(parent) is None:
            section[parent] = {}
        inner = section[parent]
        if not isinstance(inner, dict):
            raise InputError(f"--set {override}: {parent} holds no keys")
        section = inner
    for name in other_names(key):
        section.pop(name, None)
    try:
        section[last] = yaml.load(value, _Loader)
    except yaml.YAMLError:
        raise InputError(f"--set {override}: the value is not YAML") from None
