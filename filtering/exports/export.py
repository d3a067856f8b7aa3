"""Exports of a finished run: DataComp's subset and metadata, lists of shards and keys, tars, parquet and tables."""

import re
from collections.abc import Callable

from filtering.config.run import Ray
from filtering.core.errors import InputError
from filtering.exports.chunks import export_litdata, export_mds
from filtering.exports.datacomp import export_datacomp, write_subset
from filtering.exports.job import SUBSET, Export, Facts, Written, finish_export, layout
from filtering.exports.options import Options, check_format
from filtering.exports.parquet import export_parquet
from filtering.exports.shard_lists import export_shards
from filtering.exports.table import export_table
from filtering.exports.table_columns import names_of
from filtering.exports.tar_export import export_tars
from filtering.manifests.artifacts import SUBSET as RUN_SUBSET
from filtering.manifests.finished import FinishedRun, read_finished
from filtering.manifests.places import check_apart
from filtering.manifests.written import WrittenManifest
from filtering.runtime.executor import IN_PROCESS, Executor, executor_for
from filtering.runtime.progress import Reporter
from filtering.runtime.run_record import read_run
from filtering.storage.outputs import Layout, check_folder, check_output, check_utf8, checksum_of
from filtering.storage.store import Store, absolute

# Exports of at most so many samples, out of shards of so many bytes, run in this process unless CPUs are asked for.
SMALL_SAMPLES, SMALL_BYTES = 50_000, 256 << 20
FORMATS: dict[str, Callable[[Export], Written]] = {
    "datacomp": export_datacomp,
    "shards": export_shards,
    "tar": export_tars,
    "parquet": export_parquet,
    "table": export_table,
    "mds": export_mds,
    "litdata": export_litdata,
}
# The formats of which a sample is its members.
OF_TARS = ("tar", "mds", "litdata")


def export(
    run: Store,
    form: str,
    out: str,
    options: Options | None = None,
    progress: Reporter | None = None,
    executor: Executor | None = None,
    into_existing: bool = False,
) -> Facts:
    """Write an export of a finished run and return what was written; the same call resumes one that was killed.

    Parameters
    ----------
    form : str
        ``datacomp``: subset.npy, which DataComp's resharder takes (`out` may then be a path that ends in .npy), and
        with `embeddings` a parquet and an npz for each shard.
        ``shards``: shards.txt, shards.jsonl, sizes.json and keys/*.json.
        ``tar``: kept samples, byte for byte, in new tars with their statistics and sizes.json.
        ``parquet``: kept samples with URLs, captions and scores.
        ``mds``, ``litdata``: kept samples as MosaicML Streaming and LitData read them.
        ``table``: every sample, or those of one status, with the columns that are asked for.
    out : str
        A folder, path or URL. Its manifest.json is written last.
    options : Options
        Those that the format knows.
    progress : Reporter
        Receives the progress; by default, lines on stderr.
    executor : Executor
        Runs its tasks; if none is given, this process where they are few, else Ray on `options.cpus`.
    into_existing : bool
        Whether `out` may hold files that no export wrote, which stay as they are.

    Raises
    ------
    InputError
        If the format or an option is wrong, there is no finished run, the pool has changed, or `out` is taken, holds
        files that no export wrote, is inside a run's directory, or is where the pool is.
    RunError
        If a task keeps failing; what was finished stays.
    """
    options = options or Options()
    check_format(form, options)
    if form == "datacomp" and not options.embeddings:
        return {"format": form, "out": out, **_subset(run, out, into_existing)}
    check_apart(absolute(out), layout(form), run)
    if out.endswith(".npy"):
        raise InputError(f"--out: {out} must be a folder, for more than the subset file is written")
    found = read_finished(run, form != "shards", "needed" if form in ("datacomp", "parquet") else "optional")
    if form in OF_TARS and found.from_metadata:
        raise InputError(
            f"--format {form}: the input of this run was DataComp metadata, which has no tars; its formats are "
            "datacomp, shards, parquet and table"
        )
    if form == "table":
        names_of(found, options)
    if options.repeat and not found.repeats:
        raise InputError("--repeat: the run has no weights, so each of its samples is seen once; leave it out")
    executor = executor or _executor(found, form, options)
    written = finish_export(
        found, form, options, Store(absolute(out)), FORMATS[form], progress, executor, into_existing
    )
    return {"format": form, "out": out, **written}


def _executor(run: FinishedRun, form: str, options: Options) -> Executor:
    """Return what runs an export's tasks: this process where that takes less time than to start Ray."""
    sources = run.kept_sources()
    samples, size = sum(source.kept for source in sources), sum(source.shard.size for source in sources)
    if form == "table":
        samples, size = run.record["totals"]["input"], 0
    here = options.cpus == "auto" and samples <= SMALL_SAMPLES and size <= SMALL_BYTES
    return executor_for(Ray(address=IN_PROCESS) if here else Ray(num_cpus=options.cpus))


def _subset(run: Store, out: str, into_existing: bool) -> Facts:
    """Write the subset file alone, unless it is there; InputError if another file has its name."""
    manifest, named = WrittenManifest(run, read_run(run)), out.endswith(".npy")
    manifest.check_subset_file()
    url = absolute(out if named else f"{out.rstrip('/')}/{SUBSET}")
    check_utf8("--out", url)
    folder, _, name = url.rpartition("/")
    check_apart(folder, Layout("--out", re.compile(re.escape(name))), run)
    check_folder("--out", folder)
    if Store(folder).exists(name):
        # With what the run wrote: its own file may have been damaged in the same way.
        if checksum_of(url) != manifest.checksum(RUN_SUBSET):
            raise InputError(f"--out: {url} is there and is not this run's subset file; choose another, or delete it")
    else:
        if not named:
            check_output(Store(folder), layout("subset"), (), into_existing)
        write_subset(manifest, url)
    return {"kept": manifest.record["totals"]["kept"], "objects": 1}
