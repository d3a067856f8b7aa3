"""How a run stands, drawn on a terminal: its stages with bars, what is to come, and how it ended."""

from dataclasses import dataclass
from typing import Any

from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.progress_bar import ProgressBar
from rich.text import Text

from filtering.cli.drawing import columns, mark
from filtering.cli.live import NAME_WIDTH, to_come
from filtering.core.formatting import duration, size
from filtering.runtime.status import done_words, rate_words, remarks, state_words, totals_words

STYLES = {"running": "cyan", "finished": "green", "failed": "red", "stopped": "yellow"}
# By the state of a stage: its mark, the same in ASCII, and their colour.
MARKS = {"done": ("✓", "*", "green"), "reused": ("✓", "*", "dim"), "running": ("▸", ">", "cyan")}
CUT_OFF = ("✗", "x", "red")
BAR = 24
# Narrower, the summaries need the room of the memory's column.
WIDE = 70


@dataclass(frozen=True, slots=True)
class StatusView:
    """What `filtering.runtime.status.status` found, as it is drawn."""

    found: dict[str, Any]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw it."""
        state, stages = self.found["state"], self.found["stages"]
        yield Text(self.found["run"], "bold", overflow="fold")
        yield Text.assemble((state, f"bold {STYLES.get(state, '')}"), state_words(self.found).removeprefix(state))
        yield ""
        wide = options.max_width >= WIDE
        table = columns(1, expand=True)
        for ratio, justify in ((None, "left"), (None, "left"), (1, "left"), *[(None, "right")] * (1 + wide)):
            table.add_column(ratio=ratio, justify=justify, no_wrap=ratio is None, overflow="fold")  # type: ignore[arg-type]
        for stage in stages:
            table.add_row(*self._cells(stage, options, wide))
        yield table
        if state == "running" and stages and (later := to_come(stages[-1]["name"])):
            yield Text(f"  then {', '.join(later)}", "dim")
        if "totals" in self.found:
            yield Text(f"\n{totals_words(self.found['totals'])}", "bold")
        if "error" in self.found:
            yield Text(f"\n{self.found['error']}", "red")

    def _cells(self, stage: dict[str, Any], options: ConsoleOptions, wide: bool) -> list[Any]:
        begun, on = stage["state"] == "running", self.found["state"] == "running"
        drawn, plain, style = CUT_OFF if begun and not on else MARKS[stage["state"]]
        memory = size(stage["peak_memory_bytes"]) if stage.get("peak_memory_bytes") else ""
        return [
            Text(mark(options, drawn, plain), style),
            Text(f"{stage['name']:<{NAME_WIDTH}}", "bold" if begun else ""),
            _begun(stage, on) if begun else _done(stage),
            *[Text(f"  {memory}", "dim")] * wide,
            Text(f" {'' if begun else duration(stage['seconds'])}", "dim"),
        ]


def _done(stage: dict[str, Any]) -> Group:
    return _with_remarks(str(stage["summary"]), remarks(stage))


def _begun(stage: dict[str, Any], on: bool) -> Group:
    row = columns(1)
    share = [ProgressBar(total=stage["tasks"], completed=stage["tasks_done"], width=BAR)] if "tasks" in stage else []
    row.add_row(*share, done_words(stage))
    # Of a run that has ended, nobody knows when it goes on.
    return _with_remarks(row, [*(rate_words(stage) if on else []), *remarks(stage)])


def _with_remarks(first: Any, rest: list[str]) -> Group:
    return Group(first, *([Text("; ".join(rest), "dim")] if rest else []))
