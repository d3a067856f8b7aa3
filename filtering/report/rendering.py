"""`filtering report`: the location of a run's report, a copy of it, or a report with the changes since another run."""

from collections.abc import Mapping
from dataclasses import replace

from filtering.core.errors import InputError
from filtering.manifests import diff
from filtering.manifests.artifacts import REPORT, REPORT_DATA
from filtering.report.data import Against, ChangedConcept, Report, parse_report
from filtering.report.page import render
from filtering.runtime.run_record import read_run
from filtering.storage.store import Store, absolute, write_object

# The default folder of a report with changes: a finished run's folder is never changed.
FOLDER = "filtering-report"
# Concepts whose changes are listed.
CHANGED_CONCEPTS = 500


def report_page(run: Store, out: str | None = None, against: str | None = None) -> str:
    """Return the path or URL of a run's report; a copy, or a report with changes, is written first.

    A copy goes to the folder `out`. With `against`, another finished run, the report also shows the changes since that
    run; it goes to `out`, or to filtering-report in the current folder. Raises InputError if one of the runs is not
    finished, or the report's data is missing.
    """
    read_run(run)
    if out is None and against is None:
        return run.path(REPORT)
    page = f"{absolute(out or FOLDER).rstrip('/')}/index.html"
    data = run.read(REPORT) if against is None else render(_compared(run, against)).encode()
    write_object(page, data)
    return page


def _compared(run: Store, against: str) -> Report:
    if not run.exists(REPORT_DATA):
        raise InputError(
            f"report: {run.url} has no {REPORT_DATA}; an older version of filtering wrote it; run it again"
        )
    report = parse_report(run.read(REPORT_DATA))
    names = {row.concept: row.words for row in report.concepts}
    return replace(report, against=_against(diff.diff(against, run.url), names))


def _against(found: diff.RunDiff, names: Mapping[int, tuple[str, ...]]) -> Against:
    changed = found["concepts"]
    return Against(
        run=found["before"],
        before=found["kept_before"],
        after=found["kept_after"],
        both=found["kept_in_both"],
        gained=found["became_kept"],
        lost=found["became_dropped"],
        shards=found["shards"],
        concepts=tuple(_changed(one, names) for one in changed[:CHANGED_CONCEPTS]),
        more_concepts=max(0, len(changed) - CHANGED_CONCEPTS),
    )


def _changed(one: diff.ChangedConcept, names: Mapping[int, tuple[str, ...]]) -> ChangedConcept:
    run = one.get("run", "")
    return ChangedConcept(
        concept=one["concept"],
        run=run,
        words=() if run == "before" else names.get(one["concept"], ()),
        before=one["kept_before"],
        after=one["kept_after"],
        gained=sum(one["became_kept"].values()),
        lost=sum(one["became_dropped"].values()),
    )
