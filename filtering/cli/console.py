"""The console that everything is drawn on: its colours and moves of the cursor are ours, its text is data."""

from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from filtering.core.visible import visible


class VisibleConsole(Console):
    """A console that writes text as `visible` shows it, whoever draws it.

    Rich keeps styles and control codes apart from text until it writes them, so that only those of samples, stored runs
    and messages are written out.
    """

    def render_str(self, text: str, **settings: Any) -> Text:
        """Return a string as text, as `Console.render_str` does: before it is measured, for its escapes need room."""
        return super().render_str(visible(text), **settings)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Yield the segments of what is drawn, as `Console.render` does; by now a line break is a new line."""
        for segment in super().render(renderable, options):
            if segment.control or segment.text.isprintable():
                yield segment
            else:
                yield Segment("\n".join(map(visible, segment.text.split("\n"))), segment.style)
