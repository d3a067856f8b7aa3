"""The parts of everything that is drawn for a person: stages, consoles, text, tables, marks and bars.

Rich is imported when something is drawn: it would take most of the time in which `filtering --help` answers.
"""

import io
from collections.abc import Iterable
from typing import IO, TYPE_CHECKING

from filtering.core.visible import visible

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, Group, RenderableType
    from rich.padding import Padding
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

# With several selections or scores in a run, there are others between these.
STAGES = (
    "inventory",
    "embedding",
    "filters",
    "concepts",
    "partitions",
    "graph",
    "scores",
    "selection",
    "measures",
    "manifests",
    "report",
)
# Between graph and scores, where a score reads the captions' neighbours.
TEXT_STAGES = ("text_concepts", "text_partitions", "text_graph")
NAME_WIDTH = max(map(len, STAGES + TEXT_STAGES))
# Where nobody looks at a width, such as in a file, lines are as long as what they say.
PLAIN_WIDTH = 400


class _Plain(io.StringIO):
    """Text that rich draws with ASCII alone: it may go to a file or a pipe of any encoding."""

    encoding = "ascii"


def to_come(stage: str) -> tuple[str, ...]:
    """Return the stages after one, as far as they are known; none of a stage that is not one of a run's."""
    # Of several selections or scores only the last has the plain name: `selection-1`.
    name = stage.partition("-")[0]
    if name in TEXT_STAGES:
        return (*TEXT_STAGES[TEXT_STAGES.index(name) + 1 :], *STAGES[STAGES.index("graph") + 1 :])
    if name not in STAGES:
        return ()
    return STAGES[STAGES.index(name) + (name == stage) :]


def console_on(stream: IO[str]) -> "Console":
    """Return a console for a terminal, as wide as that is; colours unless NO_COLOR is set."""
    from filtering.cli.console import VisibleConsole

    return VisibleConsole(file=stream, highlight=False, markup=False, emoji=False)


def plain_lines(drawn: "RenderableType") -> list[str]:
    """Return what is drawn as lines without colours, for where no terminal is."""
    from filtering.cli.console import VisibleConsole

    file = _Plain()
    console = VisibleConsole(
        file=file, width=PLAIN_WIDTH, force_terminal=False, color_system=None, highlight=False, markup=False
    )
    console.print(drawn)
    return [line.rstrip() for line in file.getvalue().splitlines()]


def mark(options: "ConsoleOptions", drawn: str, ascii_one: str) -> str:
    """Return a mark as the terminal can show it."""
    return ascii_one if options.ascii_only else drawn


def bar(options: "ConsoleOptions", share: float, width: int) -> str:
    """Return a share of 0 to 1 as a bar of at most `width` characters; to half a character where there are such."""
    share = min(max(share, 0.0), 1.0)
    if options.ascii_only:
        return "#" * round(share * width)
    halves = round(2 * share * width)
    return "━" * (halves // 2) + "╸" * (halves % 2)


def progress_bar(total: float, done: float, width: int) -> "ProgressBar":
    """Return a bar of how much is done."""
    from rich.progress_bar import ProgressBar

    return ProgressBar(total=total, completed=done, width=width)


def text(words: str, style: str = "") -> "Text":
    """Return words in a style, as `visible` shows them; what does not fit in a line goes on in the next."""
    from rich.text import Text

    return Text(visible(words), style)


def spans(*parts: str | tuple[str, str]) -> "Text":
    """Return words of several styles in one text, as `visible` shows them."""
    from rich.text import Text

    words = [(part, "") if isinstance(part, str) else part for part in parts]
    return Text.assemble(*((visible(word), style) for word, style in words))


def stacked(parts: "Iterable[RenderableType]") -> "Group":
    """Return parts below each other."""
    from rich.console import Group

    return Group(*parts)


def indented(part: "RenderableType", by: int = 2) -> "Padding":
    """Return a part `by` blanks to the right."""
    from rich.padding import Padding

    return Padding(part, (0, 0, 0, by))


def columns(gap: int = 2, *, header: bool = False, expand: bool = False) -> "Table":
    """Return a table without lines, its columns `gap` blanks apart."""
    from rich.table import Table

    padding = (0, gap, 0, 0)
    return Table(box=None, show_header=header, header_style="bold", pad_edge=False, padding=padding, expand=expand)
