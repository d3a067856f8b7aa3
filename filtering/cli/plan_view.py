"""What `plan` found, drawn for a person: the stages with their shares, and which of them is the bottleneck."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from filtering.cli.drawing import PLAIN_WIDTH, bar, mark, plain_lines
from filtering.core.formatting import duration, size

BAR = 12
Stage = Mapping[str, Any]


def plan_lines(found: Mapping[str, Any], device: str) -> list[str]:
    """Return what `plan` found as plain lines; `device` is the one that the configuration names."""
    return plain_lines(PlanView(found, device))


@dataclass(frozen=True, slots=True)
class PlanView:
    """What `plan` found, as it is drawn; `device` is the one that the configuration names."""

    found: Mapping[str, Any]
    device: str

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw it, as wide as there is room."""
        yield Text(_pool_words(self.found))
        yield ""
        for table in self._tables(console, options):
            yield table
            yield ""
        yield from (Text(line) for line in self._bottleneck_lines(options))
        yield from map(Text, (_total_words(self.found), *_probe_lines(self.found["probe"], self.device)))
        yield from map(Text, _base_lines(self.found["base"]))

    def _tables(self, console: Console, options: ConsoleOptions) -> list[Table]:
        """Return one table, or two where that is too wide for the terminal, and those without bars if need be."""
        unlimited = options.update(width=PLAIN_WIDTH)
        for parts in ((TIME + SPACE,), (TIME, SPACE), ([one for one in TIME if one != BARS], SPACE)):
            tables = [self._table([TITLE, *part], options) for part in parts]
            if all(console.measure(table, options=unlimited).maximum <= options.max_width for table in tables):
                break
        return tables

    def _table(self, columns: Sequence["Column"], options: ConsoleOptions) -> Table:
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
        shown = [column for column in columns if column.shown(self.found)]
        for column in shown:
            table.add_column(column.title, justify=column.justify, no_wrap=True)
        for stage in self.found["stages"]:
            style = "bold" if stage["name"] in self._slowest_and_largest() else ""
            table.add_row(*(column.cell(self.found, stage, options) for column in shown), style=style)
        return table

    def _slowest_and_largest(self) -> tuple[str, str]:
        narrowest = self.found["bottleneck"]
        return narrowest["time"]["stage"], narrowest["memory"]["stage"]

    def _bottleneck_lines(self, options: ConsoleOptions) -> list[str]:
        time, memory = self.found["bottleneck"]["time"], self.found["bottleneck"]["memory"]
        allowed = self.found["memory_per_worker_bytes"]
        share = (
            "" if memory["share"] is None else f", {memory['share']:.0%} of the {size(allowed)} that a worker may have"
        )
        pointer = mark(options, "◀", "<")
        return [
            f"{pointer} most of the time: {time['stage']}, {time['share']:.0%} ({duration(time['seconds'])})",
            f"{pointer} most memory: {memory['stage']}, {size(memory['bytes'])} a task{share}",
        ]


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the table.

    Attributes
    ----------
    title : its head.
    cell : what it says of a stage, given what `plan` found and how it is drawn.
    justify : left or right.
    shown : whether there is anything to say, given what `plan` found.
    """

    title: str
    cell: Callable[[Mapping[str, Any], Stage, ConsoleOptions], Text | str]
    justify: Any = "right"
    shown: Callable[[Mapping[str, Any]], bool] = lambda found: True


def _time(found: Mapping[str, Any], stage: Stage, options: ConsoleOptions) -> Text:
    slowest = found["bottleneck"]["time"]["stage"] == stage["name"]
    return _pointed(duration(stage["seconds"]), slowest, options)


def _memory(found: Mapping[str, Any], stage: Stage, options: ConsoleOptions) -> Text:
    largest = found["bottleneck"]["memory"]["stage"] == stage["name"]
    return _pointed(size(stage["memory_per_task_bytes"]), largest, options)


def _pointed(words: str, worst: bool, options: ConsoleOptions) -> Text:
    return Text(f"{words} {mark(options, '◀', '<') if worst else ' '}", "red" if worst else "")


def _bar(found: Mapping[str, Any], stage: Stage, options: ConsoleOptions) -> Text:
    return Text(bar(options, _share(found, stage), BAR), "cyan")


def _share(found: Mapping[str, Any], stage: Stage) -> float:
    seconds = sum(one["seconds"] for one in found["stages"])
    return float(stage["seconds"] / seconds) if seconds else 0.0


def _of_allowed(found: Mapping[str, Any], stage: Stage, options: ConsoleOptions) -> str:
    return f"{stage['memory_per_task_bytes'] / found['memory_per_worker_bytes']:.0%}"


def _price(found: Mapping[str, Any], stage: Stage, options: ConsoleOptions) -> str:
    return "-" if stage["price"] is None else f"{stage['price']:,.2f}"


TITLE = Column("stage", lambda found, stage, options: str(stage["name"]), "left")
BARS = Column("", _bar, "left")
TIME = (
    Column("time  ", _time),
    Column("share", lambda found, stage, options: f"{_share(found, stage):.0%}"),
    BARS,
    Column("CPU time", lambda found, stage, options: duration(stage["cpu_seconds"])),
    Column("cost", _price, shown=lambda found: found["price"] is not None),
)
SPACE = (
    Column("a task  ", _memory),
    # A projection is of other machines, whose memory nobody knows.
    Column("of allowed", _of_allowed, shown=lambda found: found["bottleneck"]["memory"]["share"] is not None),
    Column("on disk", lambda found, stage, options: size(stage["disk_bytes"])),
    Column("shuffled", lambda found, stage, options: size(stage["shuffle_bytes"])),
)


def _pool_words(found: Mapping[str, Any]) -> str:
    return (
        f"{found['rows']:,} samples in {found['shards']:,} shards ({size(found['input_bytes'])}), "
        f"{found['concepts']:,} concepts, {found['keep']:,} to keep"
    )


def _total_words(found: Mapping[str, Any]) -> str:
    price = "" if found["price"] is None else f", {found['price']:,.2f} in all"
    return (
        f"about {duration(found['seconds'])} on {found['cpus']:,} CPUs, {found['cpu_hours']:,.2f} CPU hours, "
        f"{found['gpu_hours']:,.2f} GPU hours, {size(found['disk_bytes'])} of storage{price}"
    )


def _probe_lines(probe: Mapping[str, Any], device: str) -> list[str]:
    """Return what was measured of embedding, where anything is embedded."""
    if not probe["device"]:
        return []
    other = "; on a GPU the second will be far less" if device == "cuda" and probe["device"] == "cpu" else ""
    return [
        f"measured on one thread: {1000 * probe['decode_seconds']:.1f} ms to decode a sample, "
        f"{1000 * probe['forward_seconds']:.1f} ms to embed it on {probe['device']}{other}"
    ]


def _base_lines(base: Mapping[str, Any] | None) -> list[str]:
    """Return what is new against a base, where there is one."""
    if base is None:
        return []
    shards = ", ".join(f"{count:,} {name}" for name, count in base["shards"].items())
    return [f"from {base['run']}: shards {shards}; what of the stages after embedding it spares is not counted"]
