"""Values that YAML or Python cannot take: refused in a line with the key or the file."""

import pytest

from filtering.config.run import load_config
from filtering.core.errors import InputError


@pytest.fixture
def refusal(tmp_path):
    """Load a configuration with a line and an override, and return what is said."""

    def said(line: str, *overrides: str) -> str:
        path = tmp_path / "run.yaml"
        path.write_text(f"input: {{shards: pool/*.tar}}\noutput: runs/first\n{line}\n")
        with pytest.raises(InputError) as refused:
            load_config(str(path), overrides)
        assert "\n" not in str(refused.value)
        assert len(str(refused.value)) < 1000
        return str(refused.value)

    return said


@pytest.mark.slow
@pytest.mark.parametrize("value", ["2026-99-99", "9" * 5000, "2026-01-01T25:00:00", "[" * 3000, "{a", "*x"])
def test_a_value_that_yaml_cannot_take_names_the_key_or_the_file(refusal, value):
    assert refusal("", f"selection.keep={value}").startswith("--set selection.keep=")
    assert "run.yaml: is not YAML (" in refusal(f"base: {value}")


@pytest.mark.parametrize(
    "value", [".nan", ".inf", "-.inf", "-1", "1e999", "9" * 400, "{1: 2}", "{2026-01-01: 2}", "2026-01-01", "x" * 5000]
)
def test_a_value_that_a_key_cannot_take_names_the_key(refusal, value):
    assert refusal("", f"graph.recall={value}").startswith("graph.recall: ")


@pytest.mark.parametrize("key", ["a." * 3000 + "b", ".".join("abcdefghij"), ".", "graph.", ".k", "graph..k"])
def test_a_key_in_keys_in_keys_is_refused(refusal, key):
    assert refusal("", f"{key}=1").startswith("--set ")
