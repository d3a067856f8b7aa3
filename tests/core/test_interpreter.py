import sys

import pytest

from filtering.core.interpreter import missing_module, this_interpreter


@pytest.mark.parametrize(
    ("error", "module"),
    [
        (ModuleNotFoundError("No module named 'PIL'"), "No module named 'PIL'"),
        (RuntimeError("ray::f (ip=10.0.0.2)\nModuleNotFoundError: No module named 'PIL'"), "No module named 'PIL'"),
        (ImportError("ray::f\nImportError: libGL.so.1: cannot open\n"), "libGL.so.1: cannot open"),
        (ValueError("No module named x"), None),
    ],
)
def test_what_cannot_be_imported_is_found_in_an_error_or_its_text(error, module):
    assert missing_module(error) == module


def test_an_interpreter_is_named_with_its_version_and_machine():
    assert this_interpreter().startswith(f"{sys.executable} (Python {sys.version_info.major}.")
