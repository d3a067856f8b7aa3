"""What can be named in a configuration, drawn on a terminal."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from filtering.cli.drawing import columns
from filtering.selection.methods import FOOTER, KEYS, KINDS, heading

Entry = Mapping[str, Any]
# Papers below the descriptions on narrow terminals would double the lines: they follow them.
INDENT = (0, 0, 0, 2)


def overview_view(entries: Sequence[Entry]) -> RenderableType:
    """Return a table of all parts, kind by kind."""
    width = max(len(entry["name"]) for entry in entries)
    parts: list[RenderableType] = []
    for kind in KINDS:
        table = columns()
        table.add_column(min_width=width, no_wrap=True, style="cyan")
        table.add_column()
        for entry in (entry for entry in entries if entry["kind"] == kind):
            table.add_row(entry["name"], Text.assemble(entry["about"], (_paper(entry), "dim")))
        parts += [Text(heading(kind), "bold"), Padding(table, INDENT), ""]
    return Group(*parts, Text(FOOTER))


def details_view(entries: Iterable[Entry]) -> RenderableType:
    """Return what a person wants to know of some parts."""
    return Group(*(part for entry in entries for part in _entry(entry)))


def _entry(entry: Entry) -> list[RenderableType]:
    table = columns()
    table.add_column(min_width=13, no_wrap=True)
    table.add_column()
    for label in ("inputs", "orientation", "source"):
        if entry[label]:
            table.add_row(Text(label, "dim"), entry[label])
    for parameter in entry["parameters"]:
        default = f" (default: {parameter['default']})" if "default" in parameter else ""
        table.add_row(Text(parameter["name"], "cyan"), Text.assemble(parameter["description"], (default, "dim")))
    return [
        Text.assemble((entry["name"], "bold cyan"), f", a {entry['kind']} ({KEYS[entry['kind']]}): {entry['about']}"),
        Padding(table, INDENT),
    ]


def _paper(entry: Entry) -> str:
    # As arXiv writes it, and in one word: a line ends before it, not within it.
    return f"  {entry['source'].replace('arXiv ', 'arXiv:')}" if entry["source"] else ""
