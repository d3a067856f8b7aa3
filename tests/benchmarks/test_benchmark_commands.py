"""Every benchmark is a command that its docstring and the list of benchmarks name, with options that it has."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SHARED = (ROOT / "benchmarks/lib/arguments.py").read_text()
SCRIPTS = [path for path in sorted((ROOT / "benchmarks").rglob("*.py")) if '__name__ == "__main__"' in path.read_text()]


def module(path: Path) -> str:
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    return name.removesuffix(".__main__")


every_script = pytest.mark.parametrize("path", SCRIPTS, ids=module)


def test_there_are_scripts_in_every_folder():
    assert {path.relative_to(ROOT).parts[1] for path in SCRIPTS} == {"lib", "quality", "robustness", "speed"}
    assert len(SCRIPTS) > 20


@every_script
def test_the_docstring_says_the_command_and_options_that_exist(path):
    said = ast.get_docstring(ast.parse(path.read_text()))
    commands = re.findall(rf"python -m {re.escape(module(path))}\b.*", said)
    assert commands, f"{module(path)} does not say its command"
    # A package's commands may share a module of options, also with those of the packages in it.
    folder = [*path.parent.glob("*.py"), *path.parents[1].glob("options.py")]
    folder = folder if path.with_name("__main__.py").exists() else [path]
    code = SHARED + "".join(file.read_text() for file in folder)
    for option in re.findall(r"--[a-z][\w-]*", said):
        assert f'"{option}"' in code, f"{module(path)} has no {option}"


@every_script
def test_the_list_of_benchmarks_names_it(path):
    listed = (ROOT / "benchmarks/README.md").read_text()
    listed += "".join(path.read_text() for path in sorted((ROOT / "benchmarks/quality").glob("*/README.md")))
    assert module(path) in listed or path.name == "memory_s3.py"


@every_script
def test_it_takes_its_arguments_from_a_caller(path):
    functions = {node.name: node for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)}
    assert path.name == "memory_s3.py" or functions["main"].args.args[0].arg == "arguments"
