"""`filtering diff`: the samples that two runs decide differently."""

import argparse
from collections.abc import Mapping
from typing import Any

from filtering.cli.declaration import LATEST_HELP, Command, argument
from filtering.cli.output import print_result
from filtering.cli.suggestions import existing_run

# Concepts that are listed; --json has all.
LISTED = 20


def _diff(given: argparse.Namespace) -> int:
    from filtering.manifests.diff import diff

    found = diff(existing_run(given.before), existing_run(given.after))
    return print_result(given, found, lambda: diff_lines(found))


def diff_lines(found: Mapping[str, Any]) -> list[str]:
    """Return the counts of kept samples, what changed by reason, and the concepts with most changes."""
    gained, lost = (sum(found[name].values()) for name in ("became_kept", "became_dropped"))
    lines = [
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
    return lines + ([f"{more:,} more concepts changed; --json lists all"] if more > 0 else [])


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
    help="compare the samples that two runs keep, by concept and reason",
    examples=("filtering diff runs/1 runs/latest",),
    arguments=(
        argument("before", metavar="RUN_A", help="the earlier run's directory, a path or a URL"),
        argument("after", metavar="RUN_B", help=f"the later run's; {LATEST_HELP}"),
    ),
    body=_diff,
)
