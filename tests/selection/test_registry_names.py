import inspect

import pytest

from filtering.config.methods import BUDGET_SECTIONS, METHODS
from filtering.selection.registry import BUDGETS, SELECTORS


def test_every_method_and_budget_of_the_configuration_can_be_run():
    assert set(SELECTORS) == set(METHODS)
    assert set(BUDGETS) == set(BUDGET_SECTIONS)


@pytest.mark.parametrize("name", SELECTORS)
def test_a_selector_takes_the_section_of_its_method(name):
    annotation = inspect.signature(SELECTORS[name].pick, eval_str=True).parameters["settings"].annotation
    assert METHODS[name].settings in getattr(annotation, "__args__", (annotation,))


@pytest.mark.parametrize("name", [name for name, one in BUDGETS.items() if one.allot])
def test_a_budget_takes_its_own_section(name):
    annotation = inspect.signature(BUDGETS[name].allot, eval_str=True).parameters["settings"].annotation
    assert issubclass(BUDGET_SECTIONS[name], annotation)
