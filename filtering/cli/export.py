"""`filtering export`: the kept samples of a run in a format for training."""

import argparse
from collections.abc import Mapping
from typing import Any

from filtering.cli.declaration import INTO_EXISTING, RUN, Command, argument, count
from filtering.cli.output import print_result, progress_reporter
from filtering.cli.suggestions import existing_run

# Those of `filtering.exports`, which is slow to import.
FORMATS = ("datacomp", "shards", "tar", "parquet", "table", "mds", "litdata")


def _export(given: argparse.Namespace) -> int:
    from filtering.exports.export import export
    from filtering.exports.options import Options
    from filtering.storage.store import Store

    names = ("samples", "bytes", "shuffle", "seed", "embeddings", "all", "no_urls", "repeat", "columns", "status")
    options = Options(**{name: getattr(given, name) for name in names}, cpus=given.cpus or "auto")
    run, reporter = Store(existing_run(given.run)), progress_reporter()
    found = export(run, given.format, given.out, options, reporter, into_existing=given.into_existing)
    samples = f"{found['samples']:,}" if given.format == "table" else f"{found['kept']:,} kept"
    again = f", repeated to {found['samples']:,}," if given.repeat else ""
    line = f"{samples} samples{again} as {given.format} in {given.out} (objects: {found['objects']})"
    return print_result(given, found, lambda: [line, *warnings_of(found)])


def warnings_of(found: Mapping[str, Any]) -> list[str]:
    """Return a warning where an export lists shards that hold more than what was kept."""
    others = found["samples"] - found["kept"] if found["format"] == "shards" else 0
    if others <= 0:
        return []
    return [
        f"warning: these shards hold {others:,} samples that were not kept, which a trainer sees that reads them "
        "whole; give it keys/*.json, or use kept_pipeline or --format tar"
    ]


COMMAND = Command(
    name="export",
    help="write the kept samples of a run in a format for training",
    examples=(
        "filtering export runs/first --format shards --out out",
        "filtering export runs/first --format tar --out s3://train/first --shuffle",
        "filtering export runs/first --format table --status dropped --columns uid,key,shard,url,reason --out dropped",
    ),
    arguments=(
        RUN,
        argument(
            "--format",
            required=True,
            metavar="F",
            help=f"{', '.join(FORMATS[:-1])} or {FORMATS[-1]}",
            completed=lambda: FORMATS,
        ),
        argument(
            "--out", required=True, metavar="URL", help="output directory, a path or a URL, outside the run's directory"
        ),
        argument(
            "--samples",
            type=count,
            metavar="N",
            help="tar: samples per tar (default: 10,000); parquet, table: per file; mds, litdata: per file (2,000)",
        ),
        argument("--bytes", type=count, metavar="N", help="tar: bytes per tar, such as 500e6; instead of --samples"),
        argument("--shuffle", action="store_true", help="tar: write samples in a random order over the whole pool"),
        argument("--seed", type=int, metavar="N", help="tar: seed of the random order (default: 0)"),
        argument(
            "--repeat",
            action="store_true",
            help="tar, mds, litdata: samples as often as the run's weights say; not with --bytes or --shuffle",
        ),
        argument("--embeddings", action="store_true", help="datacomp: write metadata and embeddings"),
        argument(
            "--all", action="store_true", help="datacomp: write those of all embedded samples, not only of kept ones"
        ),
        argument(
            "--no-urls", action="store_true", help="parquet, datacomp: do not read the tars for the samples' URLs"
        ),
        argument(
            "--columns",
            metavar="NAMES",
            help="table: columns, with commas between them, such as uid,key,shard,url,caption,status,reason,clip_score",
        ),
        argument(
            "--status",
            metavar="S",
            help="table: kept, dropped, quarantined or all (default: all)",
            completed=lambda: ("kept", "dropped", "quarantined", "all"),
        ),
        argument(
            "--cpus", type=count, metavar="N", help="number of CPUs (default: all; a small export runs in this process)"
        ),
        INTO_EXISTING,
    ),
    body=_export,
    resumes="the export",
)
