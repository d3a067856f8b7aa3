"""What everything that is drawn for a person has in common: consoles, plain text, marks and bars."""

import io
from typing import IO

from rich.console import Console, ConsoleOptions, RenderableType
from rich.table import Table

# Where nobody looks at a width, such as in a file, lines are as long as what they say.
PLAIN_WIDTH = 400


class _Plain(io.StringIO):
    """Text that rich draws with ASCII alone: it may go to a file or a pipe of any encoding."""

    encoding = "ascii"


def console_on(stream: IO[str]) -> Console:
    """Return a console for a terminal, as wide as that is; colours unless NO_COLOR is set."""
    return Console(file=stream, highlight=False, markup=False, emoji=False)


def plain_lines(drawn: RenderableType) -> list[str]:
    """Return what is drawn as lines without colours, for where no terminal is."""
    text = _Plain()
    console = Console(
        file=text, width=PLAIN_WIDTH, force_terminal=False, color_system=None, highlight=False, markup=False
    )
    console.print(drawn)
    return [line.rstrip() for line in text.getvalue().splitlines()]


def mark(options: ConsoleOptions, drawn: str, ascii_one: str) -> str:
    """Return a mark as the terminal can show it."""
    return ascii_one if options.ascii_only else drawn


def bar(options: ConsoleOptions, share: float, width: int) -> str:
    """Return a share of 0 to 1 as a bar of at most `width` characters; to half a character where there are such."""
    share = min(max(share, 0.0), 1.0)
    if options.ascii_only:
        return "#" * round(share * width)
    halves = round(2 * share * width)
    return "━" * (halves // 2) + "╸" * (halves % 2)


def columns(gap: int = 2, *, expand: bool = False) -> Table:
    """Return a table without lines or header, its columns `gap` blanks apart."""
    return Table(box=None, show_header=False, pad_edge=False, padding=(0, gap, 0, 0), expand=expand)
