"""`filtering run`: start a run, or resume it."""

import argparse
import contextlib
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from filtering.cli.declaration import CONFIG, INTO_EXISTING, Command
from filtering.cli.output import print_result, progress_reporter
from filtering.core.errors import InputError

if TYPE_CHECKING:
    from filtering.runtime.run_record import RunRecord


def _run(given: argparse.Namespace) -> int:
    from filtering.config.run import load_config
    from filtering.embedding.checkpoint import check_model
    from filtering.embedding.encoders import check_encoders
    from filtering.shards.presence import check_presence

    try:
        config = load_config(given.config, given.overrides, [check_model, check_encoders, check_presence])
    except InputError as refused:
        _notify(given, refused)
        raise
    # What is wrong is said before this is imported, which takes longer than to find it.
    from filtering.pipeline.incremental import run

    record = run(config, progress_reporter(), given.into_existing)
    return print_result(given, record, lambda: run_lines(record, config.output))


def _notify(given: argparse.Namespace, refused: InputError) -> None:
    """Tell the webhook of a run whose pool or model is missing; one whose configuration is wrong has none."""
    from filtering.config.run import load_config

    with contextlib.suppress(InputError):
        config = load_config(given.config, given.overrides)
        if config.notify is not None:
            from filtering.pipeline.notification import notified

            notified(config, partial(_raise, refused), progress_reporter().say)


def _raise(error: InputError) -> "RunRecord":
    raise error


def run_lines(record: Mapping[str, Any], output: str) -> list[str]:
    """Return the totals and warnings of a finished run, and where its manifest and report are."""
    totals, pictureless = record["totals"], record["config"]["input"]["shards"] is None
    return [
        f"kept {totals['kept']:,} of {totals['input']:,} samples; dropped {totals['dropped']:,}, "
        f"quarantined {totals['quarantined']:,}",
        *([f"an epoch has {epoch:,} samples, by weights"] if (epoch := record.get("epoch_samples")) else []),
        *(f"warning: {warning}" for warning in record["warnings"]),
        f"manifest  {output}/manifest  {record['manifest_hash'][:16]}",
        f"report    {output}/report/index.html",
        f"next: filtering report {output}, filtering explain {output} SAMPLE, "
        f"filtering export {output} --format {'parquet' if pictureless else 'tar'} --out URL",
    ]


COMMAND = Command(
    name="run",
    help="start a run, or resume it",
    examples=("filtering run --config run.yaml --set selection.keep=0.3",),
    arguments=(*CONFIG, INTO_EXISTING),
    body=_run,
    notes="A minimal run.yaml, for tars written by img2dataset:\n"
    "  input: {shards: pool/*.tar}\n"
    "  output: runs/first\n"
    "To resume a run that was stopped or killed, give the same command again.",
    resumes="the run",
)
