"""`filtering plan`: what a run would take; the slowest stage and the one with most memory are marked."""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from filtering.cli.declaration import Command, add_config, amount, count
from filtering.cli.drawing import PLAIN_WIDTH, bar, columns, mark, plain_lines, text
from filtering.cli.output import print_result
from filtering.core.formatting import duration, size

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.table import Table
    from rich.text import Text

    from filtering.planning.projection import Measured, Plan, PlannedBase, PlannedStage

BAR = 12  # characters


def _options(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    parser.add_argument("--rows", type=count, metavar="N", help="project to a pool of N samples, such as 12.8e9")
    parser.add_argument(
        "--cpus", type=count, metavar="N", help="number of CPUs (default: ray.num_cpus, else this machine's)"
    )
    parser.add_argument("--cpu-hour", type=amount, metavar="PRICE", help="price of one CPU hour")
    parser.add_argument("--gpu-hour", type=amount, metavar="PRICE", help="price of one GPU hour")


def _plan(given: argparse.Namespace) -> int:
    from filtering.config.run import load_config
    from filtering.pipeline.incremental import base_of
    from filtering.pipeline.run import check
    from filtering.planning.plan import Question, plan
    from filtering.runtime.finished_run import reusable_from

    config = load_config(given.config, given.overrides)
    base = base_of(config, lambda line: print(line, file=sys.stderr))
    shards, question = check(config, base), Question(given.rows, given.cpus, given.cpu_hour, given.gpu_hour)
    found = plan(config, shards, question, None if base is None else reusable_from(base, shards))
    device = config.embedding.device
    return print_result(given, found, lambda: plan_lines(found, device), lambda: PlanView(found, device))


def plan_lines(found: "Plan", device: str) -> list[str]:
    """Return what `plan` found as plain lines; `device` is the one that the configuration names."""
    return plain_lines(PlanView(found, device))


@dataclass(frozen=True, slots=True)
class PlanView:
    """What `plan` found, as it is drawn; `device` is the one that the configuration names."""

    found: "Plan"
    device: str

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> "RenderResult":
        """Draw it, as wide as there is room."""
        yield text(_pool_words(self.found))
        yield ""
        for table in self._tables(console, options):
            yield table
            yield ""
        yield from (text(line) for line in self._bottleneck_lines(options))
        yield from map(text, (_total_words(self.found), *_probe_lines(self.found["probe"], self.device)))
        yield from map(text, _base_lines(self.found["base"]))

    def _tables(self, console: "Console", options: "ConsoleOptions") -> "list[Table]":
        """Return one table, or two where that is too wide for the terminal, and those without bars if need be."""
        unlimited = options.update(width=PLAIN_WIDTH)
        for parts in ((TIME + SPACE,), (TIME, SPACE), ([one for one in TIME if one != BARS], SPACE)):
            tables = [self._table([TITLE, *part], options) for part in parts]
            if all(console.measure(table, options=unlimited).maximum <= options.max_width for table in tables):
                break
        return tables

    def _table(self, wanted: Sequence["Column"], options: "ConsoleOptions") -> "Table":
        table = columns(header=True)
        shown = [column for column in wanted if column.shown(self.found)]
        for column in shown:
            table.add_column(column.title, justify=column.justify, no_wrap=True)
        for stage in self.found["stages"]:
            style = "bold" if stage["name"] in self._slowest_and_largest() else ""
            table.add_row(*(column.cell(self.found, stage, options) for column in shown), style=style)
        return table

    def _slowest_and_largest(self) -> tuple[str, str]:
        narrowest = self.found["bottleneck"]
        return narrowest["time"]["stage"], narrowest["memory"]["stage"]

    def _bottleneck_lines(self, options: "ConsoleOptions") -> list[str]:
        time, memory = self.found["bottleneck"]["time"], self.found["bottleneck"]["memory"]
        allowed = self.found["memory_per_worker_bytes"]
        share = (
            "" if memory["share"] is None else f", {memory['share']:.0%} of the {size(allowed)} allowed for a worker"
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
    cell: "Callable[[Plan, PlannedStage, ConsoleOptions], Text | str]"
    justify: Any = "right"
    shown: "Callable[[Plan], bool]" = lambda found: True


def _time(found: "Plan", stage: "PlannedStage", options: "ConsoleOptions") -> "Text":
    slowest = found["bottleneck"]["time"]["stage"] == stage["name"]
    return _pointed(duration(stage["seconds"]), slowest, options)


def _memory(found: "Plan", stage: "PlannedStage", options: "ConsoleOptions") -> "Text":
    largest = found["bottleneck"]["memory"]["stage"] == stage["name"]
    return _pointed(size(stage["memory_per_task_bytes"]), largest, options)


def _pointed(words: str, worst: bool, options: "ConsoleOptions") -> "Text":
    return text(f"{words} {mark(options, '◀', '<') if worst else ' '}", "red" if worst else "")


def _bar(found: "Plan", stage: "PlannedStage", options: "ConsoleOptions") -> "Text":
    return text(bar(options, _share(found, stage), BAR), "cyan")


def _share(found: "Plan", stage: "PlannedStage") -> float:
    seconds = sum(one["seconds"] for one in found["stages"])
    return float(stage["seconds"] / seconds) if seconds else 0.0


def _of_allowed(found: "Plan", stage: "PlannedStage", options: "ConsoleOptions") -> str:
    return f"{stage['memory_per_task_bytes'] / found['memory_per_worker_bytes']:.0%}"


def _price(found: "Plan", stage: "PlannedStage", options: "ConsoleOptions") -> str:
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


def _pool_words(found: "Plan") -> str:
    return (
        f"{found['rows']:,} samples in {found['shards']:,} shards ({size(found['input_bytes'])}), "
        f"{found['concepts']:,} concepts, {found['keep']:,} to keep"
    )


def _total_words(found: "Plan") -> str:
    price = "" if found["price"] is None else f", {found['price']:,.2f} in total"
    return (
        f"about {duration(found['seconds'])} on {found['cpus']:,} CPUs, {found['cpu_hours']:,.2f} CPU hours, "
        f"{found['gpu_hours']:,.2f} GPU hours, {size(found['disk_bytes'])} of storage{price}"
    )


def _probe_lines(probe: "Measured", device: str) -> list[str]:
    """Return what was measured of embedding, where anything is embedded."""
    if not probe["device"]:
        return []
    other = "; embedding on a GPU takes far less" if device == "cuda" and probe["device"] == "cpu" else ""
    return [
        f"measured on one thread: {1000 * probe['decode_seconds']:.1f} ms to decode a sample, "
        f"{1000 * probe['forward_seconds']:.1f} ms to embed it on {probe['device']}{other}"
    ]


def _base_lines(base: "PlannedBase | None") -> list[str]:
    """Return what is new against a base, where there is one."""
    if base is None:
        return []
    shards = ", ".join(f"{count:,} {name}" for name, count in base["shards"].items())
    return [f"from {base['run']}: shards {shards}; savings in the stages after embedding are not counted"]


COMMAND = Command(
    name="plan",
    help="show the rows, memory, disk space, time and cost of a run; writes nothing",
    examples=(
        "filtering plan --config run.yaml",
        "filtering plan --config run.yaml --rows 12.8e9 --cpus 4000 --cpu-hour 0.04",
    ),
    options=_options,
    body=_plan,
)
