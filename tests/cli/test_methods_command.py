import io
import json

import pytest
from rich.console import Console

from filtering.cli import main
from filtering.cli.drawing import plain_lines
from filtering.cli.methods import details_view, overview_view
from filtering.scores.registry import SCORERS
from filtering.selection.methods import method, methods
from filtering.selection.registry import SELECTORS


def test_a_name_of_several_kinds_is_explained_for_each():
    assert "entries" in " ".join(plain_lines(details_view(method("metaclip"))))


def test_the_values_of_a_scorer_are_shown():
    shown = {name: " ".join(plain_lines(details_view(method(name)))) for name in ("clip_score", "right", "sds")}
    ranges = {"clip_score": "-1 to 1", "right": "0 to 1", "sds": "0 to 2"}
    assert all(f"values {values}" in " ".join(shown[name].split()) for name, values in ranges.items())


def test_what_auto_stands_for_is_shown():
    assert "step {method: d2, variant: novelty" in " ".join(" ".join(plain_lines(details_view(method("auto")))).split())


def test_the_command(capsys):
    assert main(["methods"]) == 0
    shown = capsys.readouterr().out
    assert all(f"  {name} " in shown for name in (*SELECTORS, *SCORERS))
    assert main(["methods", "d2", "--json"]) == 0
    (entry,) = json.loads(capsys.readouterr().out)["methods"]
    assert {one["name"]: one["default"] for one in entry["parameters"]}["gamma_reverse"] == 1.0
    assert main(["methods", "d3"]) == 2


@pytest.mark.parametrize("width", [40, 80])
def test_a_terminal_shows_all_in_its_width(width):
    file = io.StringIO()
    console = Console(file=file, width=width, highlight=False)
    console.print(overview_view(methods()))
    console.print(details_view(method("d2")))
    told = file.getvalue()
    assert max(map(len, told.splitlines())) <= width
    words = " ".join(told.split())
    assert all(entry["name"] in words for entry in methods())
    assert words.count("gamma_reverse") == 1
    assert "(default: 1.0)" in words
    # A paper's number is not torn from its place.
    assert "arXiv\n" not in told.replace(" ", "")


def test_an_unknown_name_is_refused_with_the_nearest(refused):
    assert "did you mean clip_score?" in refused("methods", "clip_scor")
