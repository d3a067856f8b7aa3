"""`filtering plan`: what a run would take; the slowest stage and the one with most memory are marked."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from filtering.cli.declaration import CONFIG, Command, amount, argument, count, rate
from filtering.cli.drawing import PLAIN_WIDTH, bar, columns, mark, text
from filtering.cli.output import print_result
from filtering.core.formatting import counted, duration, size
from filtering.core.visible import visible

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.table import Table
    from rich.text import Text

    from filtering.planning.projection import Measured, Plan, PlannedBase, PlannedStage

BAR = 12  # characters
CURRENCY = "in the currency of the prices of an hour"
# The titles of the columns.
TITLE, BARS = "stage", ""
TIME = ("time  ", "share", BARS, "CPU time", "GPU time", "cost")
SPACE = ("a task  ", "of allowed", "on disk", "shuffled")


def _plan(given: argparse.Namespace) -> int:
    from filtering.config.run import load_config
    from filtering.embedding.checkpoint import check_model
    from filtering.embedding.encoders import check_encoders
    from filtering.shards.presence import check_presence

    config = load_config(given.config, given.overrides, [check_model, check_encoders, check_presence])
    # What is wrong is said before this is imported, which takes longer than to find it.
    from filtering.pipeline.incremental import base_of
    from filtering.pipeline.run import check
    from filtering.planning.plan import Question, plans
    from filtering.runtime.finished_run import reusable_from

    base = base_of(config, lambda line: print(visible(line), file=sys.stderr))
    shards = check(config, base)
    options = (given.cpus, given.gpus, given.gpu_rate, given.cpu_hour, given.gpu_hour)
    questions = [Question(rows, *options) for rows in given.rows or [None]]
    found = plans(config, shards, questions, None if base is None else reusable_from(base, shards))
    if len(found) > 1:
        return print_result(given, {"plans": found}, view=lambda: SizesView(found, given.gpu_rate))
    return print_result(given, found[0], view=lambda: PlanView(found[0], config.embedding.device, given.gpu_rate))


@dataclass(frozen=True, slots=True)
class PlanView:
    """What `plan` found, as it is drawn; `device` is the one that the configuration names.

    `gpu_rate` are the samples that a GPU embeds in a second, if that was given and not measured.
    """

    found: "Plan"
    device: str
    gpu_rate: float | None = None

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> "RenderResult":
        """Draw it, as wide as there is room."""
        yield text(_pool_words(self.found))
        yield from map(text, self.found["selection"])
        yield from (text(f"warning: {line}") for line in self.found["selection_warnings"])
        yield ""
        for table in self._tables(console, options):
            yield table
            yield ""
        yield from (text(line) for line in self._bottleneck_lines(options))
        yield from map(text, (_total_words(self.found), *_probe_lines(self.found["probe"], self.device, self.gpu_rate)))
        yield from map(text, (*_driver_lines(self.found), *_base_lines(self.found["base"])))
        yield from (text(f"quarantined: {line}") for line in self.found["warnings"])

    def _tables(self, console: "Console", options: "ConsoleOptions") -> "list[Table]":
        """Return one table, or two where that is too wide for the terminal, and those without bars if need be."""
        unlimited = options.update(width=PLAIN_WIDTH)
        rows = [self._cells(stage, options) for stage in self.found["stages"]]
        for parts in ((TIME + SPACE,), (TIME, SPACE), ([title for title in TIME if title != BARS], SPACE)):
            tables = [self._table([TITLE, *part], rows) for part in parts]
            if all(console.measure(table, options=unlimited).maximum <= options.max_width for table in tables):
                break
        return tables

    def _table(self, titles: Sequence[str], rows: Sequence[Mapping[str, "Text | str"]]) -> "Table":
        table = columns(header=True)
        shown = [title for title in titles if title in rows[0]]
        for title in shown:
            table.add_column(title, justify="left" if title in (TITLE, BARS) else "right", no_wrap=True)
        worst = self.found["bottleneck"]["time"]["stage"], self.found["bottleneck"]["memory"]["stage"]
        for row in rows:
            table.add_row(*(row[title] for title in shown), style="bold" if row[TITLE] in worst else "")
        return table

    def _cells(self, stage: "PlannedStage", options: "ConsoleOptions") -> dict[str, "Text | str"]:
        """Return the cells of a stage by the titles of their columns, without columns that have nothing to say."""
        seconds, most = sum(one["seconds"] for one in self.found["stages"]), self.found["bottleneck"]
        share = stage["seconds"] / seconds if seconds else 0.0

        def pointed(words: str, worst: str) -> "Text":
            here = stage["name"] == worst
            return text(f"{words} {mark(options, '◀', '<') if here else ' '}", "red" if here else "")

        cells: dict[str, Text | str] = {
            TITLE: stage["name"],
            "time  ": pointed(duration(stage["seconds"]), most["time"]["stage"]),
            "share": f"{share:.0%}",
            BARS: text(bar(options, share, BAR), "cyan"),
            "CPU time": duration(stage["cpu_seconds"]),
            "a task  ": pointed(size(stage["memory_per_task_bytes"]), most["memory"]["stage"]),
            "on disk": size(stage["disk_bytes"]),
            "shuffled": size(stage["shuffle_bytes"]),
        }
        if self.found["gpus"]:
            cells["GPU time"] = duration(stage["gpu_seconds"])
        if self.found["price"] is not None:
            cells["cost"] = "-" if stage["price"] is None else f"{stage['price']:,.2f}"
        # A projection is of other machines, whose memory nobody knows.
        if most["memory"]["share"] is not None:
            cells["of allowed"] = f"{stage['memory_per_task_bytes'] / self.found['memory_per_worker_bytes']:.0%}"
        return cells

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
class SizesView:
    """Plans for several sizes of a pool in one table, as it is drawn; `gpu_rate` as in `PlanView`."""

    found: "Sequence[Plan]"
    gpu_rate: float | None = None

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> "RenderResult":
        """Draw it; the titles have the units."""
        rows = [_size_cells(plan) for plan in self.found]
        table = columns(header=True)
        for title in rows[0]:
            table.add_column(title, justify="right", no_wrap=True)
        for row in rows:
            table.add_row(*row.values())
        yield table
        yield ""
        first = self.found[0]
        if first["price"] is not None:
            yield text(f"cost: {CURRENCY}")
        # The speed of this machine is in every plan.
        yield from map(text, _probe_lines(first["probe"], "cpu", self.gpu_rate))


def _size_cells(plan: "Plan") -> dict[str, str]:
    on = f"on {counted(plan['cpus'], 'CPU')}" + (f", {counted(plan['gpus'], 'GPU')}" if plan["gpus"] else "")
    cells = {
        "samples": f"{plan['rows']:,}",
        "to keep": f"{plan['keep']:,}",
        on: duration(plan["seconds"]),
        "CPU hours": f"{plan['cpu_hours']:,.1f}",
        "GPU hours": f"{plan['gpu_hours']:,.1f}",
        "a task": size(plan["bottleneck"]["memory"]["bytes"]),
        "on disk": size(plan["disk_bytes"]),
        "shuffled": size(plan["shuffle_bytes"]),
    }
    if plan["price"] is not None:
        cells["cost"] = f"{plan['price']:,.2f}"
    return cells


def _pool_words(found: "Plan") -> str:
    passing = "" if found["passing"] is None else f"about {found['passing']:,} pass the filters, "
    return (
        f"{counted(found['rows'], 'sample')} in {counted(found['shards'], 'shard')} ({size(found['input_bytes'])}), "
        f"{counted(found['concepts'], 'concept')}, {passing}{found['keep']:,} to keep"
    )


def _driver_lines(found: "Plan") -> list[str]:
    """Say what the driver holds where that is much."""
    many = found["driver_bytes"] > MUCH_BYTES
    return [f"the driver holds {size(found['driver_bytes'])} for {counted(found['shards'], 'shard')}"] * many


def _total_words(found: "Plan") -> str:
    price = "" if found["price"] is None else f", {found['price']:,.2f} in total ({CURRENCY})"
    gpus = f" and {counted(found['gpus'], 'GPU')}" if found["gpus"] else ""
    return (
        f"about {duration(found['seconds'])} on {counted(found['cpus'], 'CPU')}{gpus}, {found['cpu_hours']:,.2f} CPU "
        f"hours, {found['gpu_hours']:,.2f} GPU hours, {size(found['disk_bytes'])} of storage{price}"
    )


def _probe_lines(probe: "Measured", device: str, gpu_rate: float | None) -> list[str]:
    """Return what was measured of embedding, where anything is embedded."""
    if not probe["device"]:
        return []
    samples, decode = counted(probe["samples"], "sample"), 1000 * probe["decode_seconds"]
    decoding = f"measured on one thread with {samples}: {decode:.1f} ms to decode one"
    if gpu_rate is not None:
        return [f"{decoding}; a GPU embeds {gpu_rate:,.0f} samples a second, as --gpu-rate says"]
    slow = device != "cpu" and probe["device"] == "cpu"
    other = "; for the hours of a GPU, plan on a machine with one, or give --gpu-rate" if slow else ""
    return [f"{decoding}, {1000 * probe['forward_seconds']:.1f} ms to embed it on {probe['device']}{other}"]


def _base_lines(base: "PlannedBase | None") -> list[str]:
    """Return what is new against a base, where there is one."""
    if base is None:
        return []
    shards = ", ".join(f"{count:,} {name}" for name, count in base["shards"].items())
    return [f"from {base['run']}: shards {shards}; savings in the stages after embedding are not counted"]


ROWS_HELP = "project to a pool of N samples, such as 12.8e9; several: one table with a line for each"
# A driver that holds more than this is mentioned.
MUCH_BYTES = 1_000_000_000
RATE_HELP = "samples that one GPU embeds in a second, where this machine has none (default: as measured here)"
COMMAND = Command(
    name="plan",
    help="show the rows, memory, disk space, time and cost of a run; writes nothing",
    examples=(
        "filtering plan --config run.yaml",
        "filtering plan --config run.yaml --rows 12.8e9 --cpus 4000 --cpu-hour 0.04",
        "filtering plan --config run.yaml --rows 12.8e6 128e6 1.28e9 --cpus 64 --gpus 8 --gpu-rate 2000",
    ),
    arguments=(
        *CONFIG,
        argument("--rows", type=count, nargs="+", metavar="N", help=ROWS_HELP),
        argument("--cpus", type=count, metavar="N", help="number of CPUs (default: ray.num_cpus, else this machine's)"),
        argument("--gpus", type=count, default=1, metavar="N", help="number of GPUs that embed, if any (default: 1)"),
        argument("--gpu-rate", type=rate, metavar="N", help=RATE_HELP),
        argument("--cpu-hour", type=amount, metavar="PRICE", help="price of one CPU hour, in any currency"),
        argument("--gpu-hour", type=amount, metavar="PRICE", help="price of one GPU hour, in the same currency"),
    ),
    body=_plan,
)
