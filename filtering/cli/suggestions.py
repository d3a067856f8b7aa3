"""What is wrong with a command line, in one line, with the nearest name: of commands, options, runs."""

import argparse
import os
import re
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from filtering.core.visible import visible

if TYPE_CHECKING:
    from filtering.config.types import Section
    from filtering.storage.store import Store

# Folders that are looked into, at most, beside a run that is not there.
LOOKED_INTO = 200


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, with the nearest name."""

    given: Sequence[str] = ()

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse, and remember the words for what an error says of them."""
        self.given = list(sys.argv[1:] if args is None else args)
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        """End with status 2 and one line."""
        parser = self._of_the_command()
        said = parser._unknown_command() or parser._unknown_option() or parser._without_config(message) or message
        line = f"{said}; see {parser.prog} --help"
        if "--json" in self.given:
            from filtering.cli.output import error_json

            print(error_json(2, line))
        parser.exit(2, f"filtering: {visible(line)}\n")

    def commands(self) -> dict[str, "Parser"]:
        """Return the parsers of the commands, by name."""
        found = (action for action in self._actions if isinstance(action, argparse._SubParsersAction))
        return next((dict(action.choices) for action in found), {})

    def options(self) -> set[str]:
        """Return the options as they are typed."""
        return {option for action in self._actions for option in action.option_strings}

    def _first(self) -> str:
        return next((word for word in self.given if not word.startswith("-")), "")

    def _of_the_command(self) -> "Parser":
        """Return the parser of the command that was given: argparse reports what that left over to this one."""
        return self.commands().get(self._first(), self)

    def _unknown_command(self) -> str:
        from filtering.config.validation import nearest

        name = self._first()
        return f"unknown command {name}{nearest(name, self.commands())}" if self.commands() and name else ""

    def _unknown_option(self) -> str:
        from filtering.config.validation import nearest

        known = self.options()
        for at, word in enumerate(self.given):
            option, _, value = word.partition("=")
            if option == "--":
                break
            # argparse takes the beginning of an option for it, and a number below 0 is none.
            if not re.match(r"--?[A-Za-z]", option) or any(name.startswith(option) for name in known):
                continue
            if "--set" in known and (key := _key_named(option)):
                value = value or next(iter(self.given[at + 1 :]), "") or "VALUE"
                return f"unknown option {option}; to set a key of the configuration, use --set {key}={value}"
            return f"unknown option {option}{nearest(option, known)}"
        return ""

    def _without_config(self, message: str) -> str:
        file = self._first()
        if "--config" not in self.options() or "required: --config" not in message or not file:
            return ""
        return f"{file}: give the configuration as --config {file}"


def _key_named(option: str) -> str:
    """Return the configuration's key whose last part is an option's name, or nothing."""
    from filtering.config.run import Config

    name = option.lstrip("-").replace("-", "_")
    return next((key for key in config_keys(Config) if key.rpartition(".")[2] == name), "")


def config_keys(section: "type[Section]") -> Iterator[str]:
    """Yield the keys of a configuration, dotted: those that hold a section, then those of the section."""
    from filtering.config.types import Section

    for name in section.known_keys():
        yield name
        field = section.model_fields.get(name)
        if field and isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            yield from (f"{name}.{key}" for key in config_keys(field.annotation))


def existing_run(url: str) -> str:
    """Return the directory of a run as `run_url` does; InputError that names the run beside or inside it if it is none.

    Where there is no other run either, the error is left to what reads the run.
    """
    from filtering.core.errors import InputError
    from filtering.runtime.latest import run_url
    from filtering.storage.store import Store, is_local

    found = run_url(url)
    if not _holds_run(Store(found)) and (near := _near_run(Store(found))):
        typed = os.path.relpath(near) if is_local(near) and not url.startswith("/") and "://" not in url else near
        raise InputError(f"{url}: holds no run; did you mean {typed}?")
    return found


def _holds_run(store: "Store") -> bool:
    from filtering.runtime.events import NAME
    from filtering.runtime.run_record import RUN

    return store.exists(RUN) or store.exists(NAME)


def _near_run(missing: "Store") -> str:
    """Return the only run inside a folder, else the one beside it of the nearest name, else nothing.

    Where the folder around it is not there either, the run of the same name in the folder whose name is nearest.
    """
    from filtering.runtime.latest import root_of

    inside = [child.url for child in map(missing.child, missing.names()[:LOOKED_INTO]) if _holds_run(child)]
    if len(inside) == 1:
        return inside[0]
    root, name = root_of(missing), missing.url.rpartition("/")[2]
    beside = [run for run in _nearest_first(root, name) if _holds_run(run)]
    if not beside and not root.names():
        others = _nearest_first(root_of(root), root.url.rpartition("/")[2])
        beside = [run for run in (other.child(name) for other in others) if _holds_run(run)]
    return beside[0].url if beside else ""


def _nearest_first(root: "Store", name: str) -> "list[Store]":
    import difflib

    near = difflib.get_close_matches(name, root.names(), n=LOOKED_INTO, cutoff=0.5)
    return [root.child(one) for one in near if one != name]
