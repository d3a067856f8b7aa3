"""Write the reference of every key of the configuration and of every command, from the code that reads them.

    python -m docs.reference

Run it from the root of the repository; it writes docs/configuration.md, docs/commands.md, and docs/llms.txt, which
has the pages that docs/README.md lists. The tests compare them with what it would write.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, get_args

from pydantic.fields import FieldInfo

from benchmarks.lib.arguments import parser_of
from filtering.cli.declaration import Command
from filtering.cli.parser import commands, new_parser
from filtering.config.run import Config
from filtering.config.selection import COMMON, Step
from filtering.config.types import Section
from filtering.selection.methods import Part, flow, methods

FOLDER = Path(__file__).parent
NAVIGATION = "[Documentation](README.md) · [pools](pools.md) · [methods](methods.md) · [cluster](cluster.md)"
KINDS = {
    "selector": ("Methods", "`selection.method`"),
    "budget": ("Budgets", "`selection.budget`"),
    "scorer": ("Scores", "`selection.score`: a name, or `{NAME: {...}}` with its parameters"),
}
# Sections whose parts are listed by name, further below.
OWN = ("filters", "selection", "selections")
# A row of the table in docs/README.md: title, page, and when to read it.
INDEX_ROW = re.compile(r"^\| \[([^\]]+)\]\(([\w.]+)\) \| (.*) \|$", re.M)
WRITTEN_BY = "`python -m docs.reference` writes this page from the code."


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the pages and the list of pages."""
    parser_of(__doc__).parse_args(arguments)
    for name, text in pages().items():
        (FOLDER / name).write_text(text)
    return 0


def pages() -> dict[str, str]:
    """Return the pages by their names."""
    found = {"configuration.md": _configuration(), "commands.md": _commands(), "llms.txt": _index()}
    return {name: _page(lines) for name, lines in found.items()}


def _page(lines: Iterator[str]) -> str:
    return "\n".join(lines).rstrip() + "\n"


def _index() -> Iterator[str]:
    """Yield a line for each page, in the form of llmstxt.org."""
    yield from (
        "# filtering",
        "",
        "> Decides which image-text pairs a multimodal model should be trained on, at web scale.",
        "",
    )
    yield from (
        "Webdataset tars or rows with CLIP vectors go in; a manifest of kept samples, a reason for each other",
        "sample, and an offline report come out. One YAML file configures a run: `filtering run --config run.yaml`.",
        "",
    )
    yield from ("## Pages", "")
    for title, name, when in INDEX_ROW.findall((FOLDER / "README.md").read_text()):
        yield f"- [{title}]({name}): read it when {when}"


def _configuration() -> Iterator[str]:
    yield from ("# Every key of the configuration", "", NAVIGATION, "")
    yield from ("A configuration is YAML; `--set KEY=VALUE` overrides a key by its dotted name.", WRITTEN_BY)
    top = {name: field for name, field in Config.model_fields.items() if _section(field) is None or name in OWN}
    yield from _table("Top level", "", top)
    for name, field in Config.model_fields.items():
        section = _section(field)
        if section is not None and name not in OWN:
            yield from _sections(name, section)
    yield from ("", "## `filters`", "", "A list; each entry names one filter.")
    for part in methods():
        if part["kind"] == "filter":
            yield from _part(part, "###")
    yield from ("", "## `selection`", "", "One step, or `steps: [...]` with a list of them. Keys of every step:", "")
    yield from _rows({name: Step.model_fields[name] for name in COMMON})
    for kind, (title, where) in KINDS.items():
        yield from ("", f"## {title}", "", f"{where}.")
        for part in methods():
            if part["kind"] == kind:
                yield from _part(part, "###")


def _sections(name: str, section: type[Section]) -> Iterator[str]:
    """Yield the table of a section, and those of the sections in it."""
    yield from _table(f"`{name}`", str(section.__doc__).splitlines()[0], section.model_fields)
    for key, field in section.model_fields.items():
        if (inner := _section(field)) is not None:
            yield from _sections(f"{name}.{key}", inner)


def _section(field: FieldInfo) -> type[Section] | None:
    """Return the section that a field holds, if it holds one."""
    for one in (field.annotation, *get_args(field.annotation)):
        if isinstance(one, type) and issubclass(one, Section):
            return one
    return None


def _table(title: str, about: str, fields: dict[str, FieldInfo]) -> Iterator[str]:
    yield from ("", f"## {title}", "")
    if about:
        yield from (about, "")
    yield from _rows(fields)


def _rows(fields: dict[str, FieldInfo]) -> Iterator[str]:
    yield from ("| key | default | it must be |", "|---|---|---|")
    for name, field in fields.items():
        yield f"| `{name}` | {_default(field)} | {_cell(field.description or '')} |"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "(required)"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, Section) or value is None or value in ({}, (), ""):
        return ""
    return f"`{_plain(value)}`"


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(flow, value))}]"
    return flow(value)


def _part(part: Part, level: str) -> Iterator[str]:
    yield from ("", f"{level} {part['name']}", "", f"{part['about'][0].upper()}{part['about'][1:]}.", "")
    facts = (("step", "is"), ("inputs", "reads"), ("values", "values"), ("source", "source"))
    yield from (f"- {label}: {_cell(part[key])}" for key, label in facts if part[key])  # type: ignore[literal-required]
    for one in part["parameters"]:
        default = f" (default: `{_plain(one['default'])}`)" if "default" in one else ""
        yield f"- `{one['name']}`: {_cell(one['description'])}{default}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _commands() -> Iterator[str]:
    yield from ("# Every command", "", NAVIGATION, "")
    yield from ("Every command has `--json` and `--debug`, too.", WRITTEN_BY)
    for command in commands().values():
        yield from ("", f"## filtering {command.name}", "", f"{command.help[0].upper()}{command.help[1:]}.", "")
        yield from (f"    {line}" for line in command.examples)
        yield ""
        yield from _arguments(command)


def _arguments(command: Command) -> Iterator[str]:
    for action in new_parser().commands()[command.name]._actions:
        if action.option_strings and action.option_strings[0] in ("-h", "--json", "--debug"):
            continue
        name = action.option_strings[0] if action.option_strings else action.metavar
        given = f" {action.metavar}" if action.option_strings and action.metavar else ""
        yield f"- `{name}{given}`: {_cell(str(action.help))}"


if __name__ == "__main__":
    raise SystemExit(main())
