"""`filtering report`: where a run's page is, a copy of it, or the page with what changed against another run."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from filtering.core.errors import InputError
from filtering.manifests.artifacts import PAGE_DATA, REPORT
from filtering.manifests.diff import diff
from filtering.report.data import Page, parse_page
from filtering.report.page import render
from filtering.report.parts import Against, ChangedConcept
from filtering.runtime.run_record import read_run
from filtering.storage.store import Store, absolute, write_object

# Where a page with what changed is written if nothing else is said: a finished run's folder stays as it is.
FOLDER = "filtering-report"
# Concepts that are listed with what changed in them.
CHANGED_CONCEPTS = 500


def report_page(run: Store, out: str | None = None, against: str | None = None) -> str:
    """Return where a run's page is, after writing it anew where that is asked.

    Parameters
    ----------
    run : Store
        A finished run.
    out : str or None
        A folder, path or URL, for a copy of the page.
    against : str or None
        Another finished run: the page then says what changed, and is written to `out`, or to filtering-report here.

    Raises
    ------
    InputError
        If one of the runs is not finished, or the page's data is not there.
    """
    read_run(run)
    if out is None and against is None:
        return run.path(REPORT)
    page = f"{absolute(out or FOLDER).rstrip('/')}/index.html"
    data = run.read(REPORT) if against is None else render(_compared(run, against)).encode()
    write_object(page, data)
    return page


def _compared(run: Store, against: str) -> Page:
    if not run.exists(PAGE_DATA):
        raise InputError(f"report: {run.url} has no {PAGE_DATA}: an older version wrote its page; run it again")
    page = parse_page(run.read(PAGE_DATA))
    names = {row.concept: row.words for row in page.concepts}
    return replace(page, against=_against(diff(against, run.url), names))


def _against(found: Mapping[str, Any], names: Mapping[int, tuple[str, ...]]) -> Against:
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


def _changed(one: Mapping[str, Any], names: Mapping[int, tuple[str, ...]]) -> ChangedConcept:
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
