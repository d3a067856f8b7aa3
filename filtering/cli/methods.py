"""`filtering methods`: the filters, selectors, budgets and scorers that a configuration can name."""

import argparse
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from filtering.cli.declaration import Command, argument
from filtering.cli.drawing import columns, indented, spans, stacked, text
from filtering.cli.output import print_result

if TYPE_CHECKING:
    from rich.console import RenderableType

Entry = Mapping[str, Any]
# Where a configuration names the parts of a kind.
KEYS = {
    "filter": "filters",
    "selector": "selection.method",
    "budget": "selection.budget",
    "scorer": "selection.score",
}
FOOTER = "`filtering methods NAME` shows the inputs and parameters of one of them."


def _names() -> list[str]:
    from filtering.selection.methods import methods

    return sorted({entry["name"] for entry in methods()})


def _methods(given: argparse.Namespace) -> int:
    from filtering.selection.methods import method, methods

    found = method(given.name) if given.name else methods()
    view = details_view if given.name else overview_view
    return print_result(given, {"methods": found}, view=lambda: view(found))


def heading(kind: str) -> str:
    """Return what stands above the parts of a kind: where they are named."""
    return f"{kind}s ({KEYS[kind]})" + ("; higher scores are kept" if kind == "scorer" else "")


def overview_view(entries: Sequence[Entry]) -> "RenderableType":
    """Return a table of all parts, kind by kind."""
    width = max(len(entry["name"]) for entry in entries)
    parts: list[RenderableType] = []
    for kind in KEYS:
        table = columns()
        table.add_column(min_width=width, no_wrap=True, style="cyan")
        table.add_column()
        for entry in (entry for entry in entries if entry["kind"] == kind):
            table.add_row(entry["name"], spans(entry["about"], (_paper(entry), "dim")))
        parts += [text(heading(kind), "bold"), indented(table), ""]
    return stacked([*parts, text(FOOTER)])


def details_view(entries: Iterable[Entry]) -> "RenderableType":
    """Return the inputs, papers and parameters of some parts, in tables."""
    return stacked(part for entry in entries for part in _entry_view(entry))


def _entry_view(entry: Entry) -> "list[RenderableType]":
    table = columns()
    table.add_column(min_width=13, no_wrap=True)
    table.add_column()
    for label in ("step", "inputs", "orientation", "values", "source"):
        if entry[label]:
            table.add_row(text(label, "dim"), entry[label])
    for one in entry["parameters"]:
        default = f" (default: {one['default']})" if "default" in one else ""
        table.add_row(text(one["name"], "cyan"), spans(one["description"], (default, "dim")))
    title = f", a {entry['kind']} ({KEYS[entry['kind']]}): {entry['about']}"
    return [spans((entry["name"], "bold cyan"), title), indented(table)]


def _paper(entry: Entry) -> str:
    # Below the descriptions, papers would double the lines on narrow terminals: they follow them. As arXiv writes it,
    # and in one word: a line ends before it, not within it.
    return f"  {entry['source'].replace('arXiv ', 'arXiv:')}" if entry["source"] else ""


COMMAND = Command(
    name="methods",
    help="list the filters, selectors, budgets and scorers that a configuration can name",
    examples=("filtering methods", "filtering methods d2"),
    arguments=(
        argument(
            "name", nargs="?", metavar="NAME", help="show the inputs and parameters of this one only", completed=_names
        ),
    ),
    body=_methods,
)
