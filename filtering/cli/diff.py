"""`filtering diff`: the samples that two runs decide differently."""

import argparse
import json
from collections.abc import Mapping
from typing import Any

from filtering.cli.declaration import LATEST_HELP, Command, argument, count
from filtering.cli.output import print_result
from filtering.cli.suggestions import existing_run
from filtering.core.formatting import shortened

# Concepts that are listed; --json has all. Characters that are shown of a key's value.
LISTED, SHOWN = 20, 60


def _diff(given: argparse.Namespace) -> int:
    from filtering.manifests.diff import diff

    found = diff(existing_run(given.before), existing_run(given.after), given.samples)
    return print_result(given, found, lambda: diff_lines(found))


def diff_lines(found: Mapping[str, Any]) -> list[str]:
    """Return the counts of kept samples, what changed by reason, and the concepts with most changes."""
    gained, lost = (sum(found[name].values()) for name in ("became_kept", "became_dropped"))
    lines = [
        *(f"{one['key']}: {_value(one['before'])} -> {_value(one['after'])}" for one in found["configuration"]),
        f"{found['kept_before']:,} kept before, {found['kept_after']:,} after, {found['kept_in_both']:,} in both",
        f"became kept    {gained:>8,}  {_reasons(found['became_kept'])}",
        f"became dropped {lost:>8,}  {_reasons(found['became_dropped'])}",
    ]
    if not found["same_concepts"]:
        lines.append("the runs have different centroids: each concept is listed with the number it has in its own run")
    if found["concepts"]:
        lines.append(f"{'concept':<16}{'before':>9}{'after':>9}{'+':>7}{'-':>7}  reasons")
    lines += [_concept_line(one) for one in found["concepts"][:LISTED]]
    more = len(found["concepts"]) - LISTED
    lines += [f"{more:,} more concepts changed; --json lists all"] if more > 0 else []
    return lines + [_sample_line(one) for one in found["samples"]]


def _value(value: object) -> str:
    return shortened(json.dumps(value), SHOWN)


def _sample_line(one: Mapping[str, Any]) -> str:
    return f"{one['change']:<16}{one['uid']}  {one['key']}  {one['shard']}  concept {one['concept']}  {one['reason']}"


def _concept_line(one: Mapping[str, Any]) -> str:
    name = f"{one['concept']}" + (f" ({one['run']})" if "run" in one else "")
    gained, lost = (sum(one[key].values()) for key in ("became_kept", "became_dropped"))
    reasons = "; ".join(
        f"{sign}{_reasons(one[key])}" for sign, key in (("+ ", "became_kept"), ("- ", "became_dropped")) if one[key]
    )
    return f"{name:<16}{one['kept_before']:>9,}{one['kept_after']:>9,}{gained:>7,}{lost:>7,}  {reasons}"


def _reasons(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{reason} {count:,}" for reason, count in counts.items())


COMMAND = Command(
    name="diff",
    help="compare two runs: their configurations, and the samples that they keep, by concept and reason",
    examples=("filtering diff runs/1 runs/latest", "filtering diff runs/first runs/second --samples 20"),
    arguments=(
        argument("before", metavar="RUN_A", help="the earlier run's directory, a path or a URL"),
        argument("after", metavar="RUN_B", help=f"the later run's; {LATEST_HELP}"),
        argument("--samples", type=count, default=0, metavar="N", help="list N of the changed samples, with reasons"),
    ),
    body=_diff,
)
