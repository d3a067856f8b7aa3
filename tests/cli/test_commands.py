"""What holds for every command."""

import argparse
import shlex
from importlib import import_module
from pkgutil import iter_modules

import pytest

from filtering import cli
from filtering.cli.parser import commands, new_parser

COMMANDS = sorted(commands())


def test_a_module_that_declares_a_command_is_listed_under_its_own_name():
    modules = {info.name: import_module(f"filtering.cli.{info.name}") for info in iter_modules(cli.__path__)}
    declared = {name: module.COMMAND for name, module in modules.items() if hasattr(module, "COMMAND")}
    assert declared == commands()
    assert all(command.name == name for name, command in declared.items())


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself_with_an_example(call_main, name):
    status, out, _ = call_main(name, "--help")
    assert status == 0
    assert f"Example: filtering {name}" in out
    assert name in call_main("--help")[1]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_example_is_taken(name):
    for example in commands()[name].examples:
        program, *words = shlex.split(example.partition(">")[0])
        assert program == "filtering"
        assert new_parser().parse_args(words).command == name


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_explained(name):
    assert all(action.help for action in new_parser().commands()[name]._actions)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_prints_json_and_tracebacks(name):
    assert {"--json", "--debug"} <= new_parser().commands()[name].options()


def test_a_command_is_a_module_and_its_name(monkeypatch, capsys):
    """All that a new one takes: a module here, and its name in `parser.NAMES`."""
    import sys
    from types import ModuleType

    from filtering.cli import main
    from filtering.cli import parser as registry
    from filtering.cli.declaration import RUN, Command
    from filtering.cli.output import print_result

    def hello(given: argparse.Namespace) -> int:
        return print_result(given, {"run": given.run}, lambda: [f"hello, {given.run}"])

    module = ModuleType("filtering.cli.hello")
    module.COMMAND = Command("hello", "greet a run", ("filtering hello runs/first",), (RUN,), hello)
    monkeypatch.setitem(sys.modules, "filtering.cli.hello", module)
    monkeypatch.setattr(registry, "NAMES", (*registry.NAMES, "hello"))
    registry.commands.cache_clear()
    try:
        assert main(["hello", "runs/first"]) == 0
        assert main(["hello", "runs/first", "--json"]) == 0
    finally:
        registry.commands.cache_clear()
    assert capsys.readouterr().out == 'hello, runs/first\n{"run": "runs/first"}\n'
