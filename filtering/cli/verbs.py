"""What each verb does. What a verb needs is imported in it: importing all would take seconds."""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from typing import Any

from filtering.cli.suggestions import existing_run


def tell(given: argparse.Namespace, value: dict[str, Any], lines: Sequence[str]) -> int:
    """Print a result, as one JSON object or for a person, and return the exit status 0."""
    if given.json:
        given.out_stream.write(json.dumps(value) + "\n")
    else:
        given.out_stream.writelines(line + "\n" for line in lines)
    return 0


def show(given: argparse.Namespace, value: dict[str, Any], drawn: Callable[[], Any], lines: Callable[[], Any]) -> int:
    """Print a result as `tell` does, but drawn on a terminal."""
    if given.json or not given.out_stream.isatty():
        return tell(given, value, [] if given.json else lines())
    from filtering.cli.drawing import console_on

    console_on(given.out_stream).print(drawn())
    return 0


def _demo(given: argparse.Namespace) -> int:
    from filtering.demo.job import run_demo

    return tell(given, *run_demo(given.out))


def _plan(given: argparse.Namespace) -> int:
    from filtering.cli.plan_view import PlanView, plan_lines
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
    return show(given, found, lambda: PlanView(found, device), lambda: plan_lines(found, device))


def _run(given: argparse.Namespace) -> int:
    from filtering.config.run import load_config
    from filtering.pipeline.incremental import run

    config = load_config(given.config, given.overrides)
    record = run(config)
    totals = record["totals"]
    lines = [
        f"kept {totals['kept']:,} of {totals['input']:,} samples; dropped {totals['dropped']:,}, "
        f"quarantined {totals['quarantined']:,}",
        *(f"warning: {warning}" for warning in record["warnings"]),
        f"manifest  {config.output}/manifest  {record['manifest_hash'][:16]}",
        f"page      {config.output}/report/index.html",
    ]
    return tell(given, record, lines)


def _methods(given: argparse.Namespace) -> int:
    from filtering.selection.methods import details, method, methods, overview

    found = method(given.name) if given.name else methods()
    drawing = details if given.name else overview

    def drawn() -> Any:
        from filtering.cli.methods_view import details_view, overview_view

        return (details_view if given.name else overview_view)(found)

    return show(given, {"methods": found}, drawn, lambda: drawing(found))


def _status(given: argparse.Namespace) -> int:
    from filtering.runtime.status import status, status_lines
    from filtering.storage.store import Store

    run = Store(existing_run(given.run))
    if given.watch:
        from filtering.cli.watching import watch

        return watch(run, given.out_stream, given.every, as_json=given.json)
    found = status(run)

    def drawn() -> Any:
        from filtering.cli.status_view import StatusView

        return StatusView(found)

    return show(given, found, drawn, lambda: status_lines(found))


def _diff(given: argparse.Namespace) -> int:
    from filtering.manifests.diff import diff, diff_lines

    found = diff(existing_run(given.before), existing_run(given.after))
    return tell(given, found, diff_lines(found))


def _verify(given: argparse.Namespace) -> int:
    from filtering.manifests.verify import problems
    from filtering.storage.store import Store

    found = list(problems(Store(existing_run(given.run))))
    lines = [*found, f"{len(found)} problem{'s' * (len(found) > 1)}" if found else f"{given.run}: everything holds"]
    tell(given, {"run": given.run, "problems": found, "ok": not found}, lines)
    return 1 if found else 0


def _report(given: argparse.Namespace) -> int:
    from filtering.report.rendering import report_page
    from filtering.storage.store import Store

    against = existing_run(given.against) if given.against else None
    page = report_page(Store(existing_run(given.run)), given.out, against)
    return tell(given, {"page": page}, [page])


def _explain(given: argparse.Namespace) -> int:
    from filtering.explanations import explain, explanation_lines

    found = explain(existing_run(given.run), given.sample)
    return tell(given, found, explanation_lines(found))


def _export(given: argparse.Namespace) -> int:
    from filtering.exports.export import export
    from filtering.exports.options import Options
    from filtering.storage.store import Store

    names = ("samples", "bytes", "shuffle", "seed", "embeddings", "all", "no_urls")
    options = Options(**{name: getattr(given, name) for name in names}, cpus=given.cpus or "auto")
    found = export(Store(existing_run(given.run)), given.format, given.out, options)
    line = f"{found['kept']:,} kept samples as {given.format} in {given.out} ({found['objects']} objects)"
    return tell(given, found, [line])


def _completion(given: argparse.Namespace) -> int:
    from filtering.cli.completion import completion

    script = completion(given.shell)
    return tell(given, {"shell": given.shell, "script": script}, [script])


VERBS: dict[str, Callable[[argparse.Namespace], int]] = {
    "demo": _demo,
    "plan": _plan,
    "run": _run,
    "status": _status,
    "report": _report,
    "explain": _explain,
    "verify": _verify,
    "diff": _diff,
    "export": _export,
    "methods": _methods,
    "completion": _completion,
}
