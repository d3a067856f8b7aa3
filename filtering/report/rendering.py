"""`filtering report`: the location of a run's report, a copy of it, or a report with the changes since another run."""

import re

from filtering.core.errors import InputError
from filtering.manifests.artifacts import REPORT, REPORT_DATA
from filtering.manifests.diff import diff
from filtering.manifests.places import check_apart
from filtering.manifests.written import check_report, read_report
from filtering.report.data import parse_report
from filtering.report.gallery import cards
from filtering.report.page import render
from filtering.runtime.run_record import RunRecord, read_run
from filtering.storage.outputs import Layout, check_folder
from filtering.storage.store import Store, absolute, read_range, write_object

# The default folder of a report with changes: a finished run's folder is never changed.
FOLDER = "filtering-report"
LAYOUT = Layout("--out", re.compile(r"index\.html"), insisting=False)
FIRST_BYTES = 1 << 12
SIGNATURE = b'<meta name="generator" content="filtering">'


def report_page(run: Store, out: str | None = None, against: str | None = None) -> str:
    """Return the path or URL of a run's report; a copy, or a report with changes, is written first.

    A copy goes to the folder `out`. With `against`, another finished run, the report also shows the changes since that
    run; it goes to `out`, or to filtering-report in the current folder. Raises InputError if one of the runs is not
    finished, the report's data is missing, or `out` is inside a run's directory or where the pool is; DamagedError if
    the report, or its data, is not what was written, also where nothing but its path is asked for.
    """
    record = read_run(run)
    if against is None and not run.exists(REPORT):
        raise InputError(f"report: {run.url} has no {REPORT}; run its configuration again, which writes it")
    if out is None and against is None:
        check_report(run, record)
        return run.path(REPORT)
    folder = absolute(out or FOLDER).rstrip("/")
    page = f"{folder}/index.html"
    check_apart(folder, LAYOUT, run, *([] if against is None else [Store(against)]))
    check_folder("--out", folder)
    _check_free(page)
    data = read_report(run, record, REPORT) if against is None else _compared(run, record, against).encode()
    try:
        write_object(page, data)
    except FileNotFoundError:
        # Such as /proc, where nobody makes a folder.
        raise InputError(f"--out: no folder can be made at {folder}; choose another") from None
    return page


def _check_free(page: str) -> None:
    """Refuse to write over a page that is no report: of a report, the first bytes say that it is one."""
    try:
        first = read_range(page, 0, FIRST_BYTES)
    except FileNotFoundError:
        return
    if SIGNATURE not in first:
        raise InputError(f"--out: {page} is there and is no report of filtering; choose another folder")


def _compared(run: Store, record: RunRecord, against: str) -> str:
    if not run.exists(REPORT_DATA):
        raise InputError(
            f"report: {run.url} has no {REPORT_DATA}; an older version of filtering wrote it; run it again"
        )
    report = parse_report(read_report(run, record, REPORT_DATA), run.path(REPORT_DATA))
    shown = {card.sample.uid for card in cards(report) if card.sample.uid}
    return render(report, diff(against, run.url, len(shown), shown))
