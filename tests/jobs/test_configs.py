from pathlib import Path

import pytest

from filtering.config.methods import DECIDED
from filtering.config.run import load_config
from filtering.config.selection import Step
from filtering.filters.stage import check_filters
from filtering.scores.registry import spec_of
from filtering.selection.registry import BUDGETS, SELECTORS

CONFIGS = sorted((Path(__file__).parents[2] / "jobs/configs").glob("*.yaml"))


def steps(config):
    """Every step of a configuration's selection, those of named selections too."""
    named = [step for given in config.selections.values() for step in (given if isinstance(given, tuple) else (given,))]
    return [step for step in (*(config.selection.steps or (config.selection,)), *named) if isinstance(step, Step)]


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_example_is_a_valid_configuration(path):
    config = load_config(str(path))
    check_filters(config.filters)
    assert steps(config)
    for step in steps(config):
        assert step.budget_name in (*DECIDED, *BUDGETS)
        assert spec_of(step.score, SELECTORS[step.method].score)


def test_every_baseline_of_datacomp_has_an_example():
    names = {"no-filter", "basic", "text-based", "image-based", "clip-score", "laion", "image-based-clip-score"}
    assert {f"datacomp-{name}" for name in names} <= {path.stem for path in CONFIGS}
