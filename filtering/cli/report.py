"""`filtering report`: where a run's report is, or the report written elsewhere."""

import argparse

from filtering.cli.declaration import RUN, Command, argument
from filtering.cli.output import print_result
from filtering.cli.suggestions import existing_run


def _report(given: argparse.Namespace) -> int:
    from filtering.report.rendering import report_page
    from filtering.storage.store import Store

    against = existing_run(given.against) if given.against else None
    page = report_page(Store(existing_run(given.run)), given.out, against)
    return print_result(given, {"page": page}, lambda: [page])


COMMAND = Command(
    name="report",
    help="print the path of a run's report, or write the report elsewhere",
    examples=("filtering report runs/first --out page", "filtering report runs/second --against runs/first"),
    arguments=(
        RUN,
        argument("--out", metavar="DIR", help="write the report there (default with --against: filtering-report)"),
        argument("--against", metavar="RUN", help="another run to compare this one with in the report"),
    ),
    body=_report,
)
