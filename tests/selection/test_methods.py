import io
import json

import pytest
from rich.console import Console

from filtering.cli import main
from filtering.cli.methods_view import details_view, overview_view
from filtering.core.errors import InputError
from filtering.scores.registry import SCORERS
from filtering.selection.methods import details, method, methods
from filtering.selection.registry import BUDGETS, SELECTORS


def test_every_part_is_listed_with_what_a_user_needs():
    listed = [(entry["kind"], entry["name"]) for entry in methods()]
    named = {"selector": SELECTORS, "budget": BUDGETS, "scorer": SCORERS}
    assert listed == [(kind, name) for kind, parts in named.items() for name in parts]
    for entry in methods():
        assert entry["about"], entry["name"]
        assert all(parameter["description"] for parameter in entry["parameters"]), entry["name"]
        assert (entry["kind"] == "scorer") == bool(entry["orientation"])


def test_a_name_may_be_of_several_kinds():
    assert [entry["kind"] for entry in method("metaclip")] == ["selector", "scorer"]
    assert "entries" in " ".join(details(method("metaclip")))


def test_what_must_be_given_has_no_default():
    (entry,) = method("norm_sim")
    assert [(one["name"], "default" in one) for one in entry["parameters"]] == [("targets", False)]


def test_an_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(InputError, match="did you mean semdedup"):
        method("semdedupe")


def test_the_verb(capsys):
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
