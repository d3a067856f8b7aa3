from pathlib import Path

import pytest

from filtering.config import load_config
from filtering.selection.registry import budget, selector

CONFIGS = sorted((Path(__file__).parents[2] / "jobs/configs").glob("*.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_example_is_a_valid_configuration(path):
    config = load_config(str(path))
    assert selector(config.selection.method)
    assert budget(config.selection.budget)
