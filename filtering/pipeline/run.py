"""The stages in order: what each reads, writes and depends on."""

import contextlib
import time
from collections.abc import Collection, Sequence
from dataclasses import replace

from filtering.config.run import Config
from filtering.core.errors import DamagedError, FilteringError, Mistakes, one_line
from filtering.embedding.artifacts import EmbeddingResult
from filtering.embedding.checkpoint import check_main
from filtering.embedding.encoders import check_encoders, check_encoders_load
from filtering.embedding.identity import pinned
from filtering.embedding.metadata import vector_source
from filtering.embedding.stage import check_base, embed, embedded_shards, embedding_key, guesses
from filtering.embedding.text_share import check_text_detector, detects_text
from filtering.filters.artifacts import FiltersResult, PassingShard, of_concepts
from filtering.filters.stage import apply_filters, check_filters, filters_key
from filtering.manifests.artifacts import REPORT, ManifestsResult
from filtering.manifests.stage import copy_manifests, manifests_key, write_manifests
from filtering.measures.artifacts import MeasuresResult
from filtering.measures.stage import MeasuredSelection, measure, measures_key
from filtering.pipeline.context import RunContext, SelectionInputs, difference, inventory_key
from filtering.pipeline.graphs import neighbourhood
from filtering.pipeline.layout import check_run_output, delete_half_written, tell_replaced
from filtering.pipeline.origin import origin_of
from filtering.pipeline.repair import check_all, check_report, make_room, repeated
from filtering.pipeline.selection_steps import Selected, Selecting, reads_texts
from filtering.pipeline.sources import sources_of
from filtering.pipeline.step_checks import check_steps
from filtering.pipeline.step_words import step_lines
from filtering.pipeline.summary import run_summary
from filtering.pipeline.taken_over import embeddings_beside
from filtering.pipeline.unchanged import COPIED_HERE, InBase
from filtering.report.stage import ReportResult, report_key, write_report
from filtering.runtime.events import EventLog
from filtering.runtime.executor import executor_for
from filtering.runtime.finished_run import Base, reusable_from
from filtering.runtime.progress import LineReporter, Reporter
from filtering.runtime.references import run_of
from filtering.runtime.run_record import RunRecord, write_run
from filtering.runtime.stage import FOLDER, Finished, Runtime, StageRun, leased
from filtering.shards.field_columns import check_fields
from filtering.shards.inventory import InventoryResult, Shard, check_uids, list_shards, write_inventory
from filtering.storage.store import Store, absolute


def check(config: Config, base: Base | None = None) -> list[Shard]:
    """Refuse what cannot work before any work is done, and return the pool's shards.

    Parameters
    ----------
    config : Config
        The run's configuration.
    base : Base or None
        The run that this one starts from.

    Returns
    -------
    list of Shard
        In the order of the inventory.

    Raises
    ------
    InputError
        A line for each mistake: the key, what is wrong, the nearest valid name.
    """
    mistakes, shards = Mistakes(), list[Shard]()
    with mistakes.collected():
        check_filters(config.filters, config.embedding, config.input.fields, config.input.has_pictures)
    with mistakes.collected():
        check_steps(config)
    with mistakes.collected():
        origin_of(config, base)
    with mistakes.collected():
        shards = list_shards(config.pool)
        check_uids(config.input, shards)
        if not config.input.has_pictures:
            vector_source(config.pool).check(shards)
            check_fields(shards, config.input.fields)
    with mistakes.collected():
        _check_model(config, base, shards)
    mistakes.refuse()
    return shards


def _check_model(config: Config, base: Base | None, shards: Sequence[Shard]) -> None:
    check_encoders(dict(config))
    if config.input.has_pictures:
        check_main(config.embedding)
        check_encoders_load(config.embedding)
        if detects_text(config.embedding.signals):
            check_text_detector()
    if base is not None:
        check_base(base, config.pool, config.embedding, shards)


def run(
    config: Config,
    progress: Reporter | None = None,
    base: Base | None = None,
    shards: list[Shard] | None = None,
    into_existing: bool = False,
    told: Collection[str] = (),
) -> RunRecord:
    """Start or resume a run and return its run.json.

    Parameters
    ----------
    config : Config
        The run's configuration.
    progress : Reporter, optional
        Receives the progress; by default, lines on stderr.
    base : Base, optional
        A finished run; what it knows of the pool is not computed again.
    shards : list of Shard, optional
        What `check` returned, where it was asked already.
    into_existing : bool
        Whether the output may hold files of others, which stay as they are.
    told : collection of str
        URLs of damaged objects of which `progress` has been told.

    Returns
    -------
    RunRecord
        The run.json that was written last: totals, reasons, settings, hashes and what each stage took.

    Raises
    ------
    InputError
        If the configuration or the pool cannot work, or the output holds what no run wrote; nothing has been written
        then.
    RunError
        If a stage fails; what it finished stays, and the same call resumes it.
    """
    shards = check(config, base) if shards is None else shards
    store = Store(absolute(config.output))
    check_place(config, shards, into_existing, base)
    progress = progress or LineReporter()
    if config.input.has_pictures:
        for guess in guesses(config.embedding):
            progress.say(guess)
        # Workers load it later, on other machines.
        config = config.model_copy(update={"embedding": pinned(config.embedding)})
    sources = sources_of(config)
    with leased(store, progress) as lease:
        delete_half_written(store)
        tell_replaced(store, lambda record: difference(record, config, shards, sources), progress.say, told)
        events = EventLog(store, lease.check)
        events.append("run_started", config_hash=config.digest(), shards=len(shards))
        if lease.taken_over_from:
            events.append("lease_taken_over", holder=lease.taken_over_from)
        events.flush()
        for line in () if told else step_lines(config):
            progress.say(line)
        runtime = Runtime(store, executor_for(config.ray), events, progress, lease, told=set(told))
        try:
            runtime.listings.begin(store.child(FOLDER))
            reusable = None if base is None else reusable_from(base, shards)
            record = repeated(RunContext(config, runtime, tuple(shards), reusable, sources), _through_the_stages)
            events.flush()
        except BaseException as error:
            # A run that lost its lease may not even say so: the log is the new holder's.
            with contextlib.suppress(FilteringError):
                events.append_end(error)
                events.flush()
            raise
        finally:
            runtime.listings.stop()
            runtime.progress.stop()
            runtime.executor.stop()
    return record


def check_place(config: Config, shards: Sequence[Shard], into_existing: bool, base: Base | None = None) -> None:
    """Refuse an output in the place of the pool, the base's too, or of another run, or that holds what no run wrote."""
    inputs = [*shards, *(base.shards if base else ())]
    vectors = [file.url for shard in inputs for file in shard.vectors]
    check_run_output(Store(absolute(config.output)), [*(shard.url for shard in inputs), *vectors], into_existing)


def _through_the_stages(context: RunContext) -> RunRecord:
    config, shards, reusable = context.config, context.shards, context.reusable
    inventory = context.take(inventory_key(shards), InventoryResult, lambda stage: write_inventory(stage.store, shards))
    embedding = context.take(
        embedding_key(config.pool, config.embedding, inventory.fingerprint),
        EmbeddingResult,
        lambda stage: embed(
            stage, config.pool, config.embedding, config.ray, shards, reusable, embeddings_beside(context, stage)
        ),
    )
    embedded = embedded_shards(embedding, config.pool, shards, config.concepts.embedding or "")
    filters = context.take_unchanged(
        filters_key(config.filters, embedding.fingerprint),
        FiltersResult,
        lambda stage: apply_filters(stage, config.filters, embedded, embedding.result.rows, reusable),
        lambda found: replace(found, same=tuple(shard.identity for shard in shards)),
    )
    passing = tuple(PassingShard(shard, filters.store) for shard in embedded)
    unchanged = None if reusable is None else replace(reusable, same=frozenset(filters.result.same))
    images = neighbourhood(context, filters, passing, unchanged)
    texts = neighbourhood(context, filters, passing, unchanged, "text") if reads_texts(config) else None
    inputs = SelectionInputs(passing, embedding, filters, images, texts)
    selected = Selecting(context, inputs).run()
    return _finish(context, inputs, selected, _measure(context, inputs, selected))


def _measure(context: RunContext, inputs: SelectionInputs, selected: Selected) -> Finished[MeasuresResult]:
    last = selected.last
    measured = MeasuredSelection(
        shards=of_concepts(inputs.shards),
        rows=inputs.filters.result.passed,
        kept=last.result.picks,
        partitions=inputs.concepts.result.partitions,
        picks=last.store,
        concepts=inputs.concepts.store,
        graph=inputs.graph.store,
    )
    key = measures_key(last.fingerprint, inputs.graph.fingerprint)
    return context.take_unchanged(key, MeasuresResult, lambda stage: measure(stage, measured))


def _finish(
    context: RunContext, inputs: SelectionInputs, selected: Selected, measures: Finished[MeasuresResult]
) -> RunRecord:
    runtime, pick_filters = context.runtime, selected.pick_filters
    passing, samples, weights = inputs.shards, inputs.embedding.result.by_shard, context.config.weights
    key = manifests_key(
        [one.reason for one in pick_filters], inputs.filters.fingerprint, selected.last.fingerprint, weights
    )
    make_room(context, key)
    manifests = context.take_unchanged(
        key,
        ManifestsResult,
        lambda stage: write_manifests(stage, pick_filters, passing, samples, weights),
        copy=lambda stage, there: copy_manifests(stage, run_of(there.store), COPIED_HERE),
    )
    summary = run_summary(context, inputs, selected, measures.result, manifests.result)
    partitions = inputs.concepts.result.partitions
    failure = _report(context, manifests, summary, passing, partitions)
    check_all(context)
    warnings = [*summary["warnings"], *failure]
    finished = round(time.time(), 3)
    record: RunRecord = {**summary, "warnings": warnings, "stages": context.costs(), "finished": finished}
    runtime.lease.check(fresh=True)
    write_run(runtime.store, record)
    totals = {name: record["totals"][name] for name in ("input", "kept", "dropped", "quarantined")}
    runtime.events.append("run_finished", manifest_hash=record["manifest_hash"], **totals)
    return record


def _report(
    context: RunContext,
    manifests: Finished[ManifestsResult],
    summary: RunRecord,
    shards: Sequence[PassingShard],
    partitions: int,
) -> list[str]:
    """Write the report; return a warning if that failed, which does not undo manifests that are written."""
    key, runtime = report_key(context.config.resolved(), manifests.fingerprint), context.runtime
    check_report(context.stage(key))
    there = _report_in_base(context, manifests)

    def written(stage: StageRun) -> ReportResult:
        if there is not None:
            # What its tasks found is the same; only what is said of the run differs.
            there.copy(stage, markers=True)
        return write_report(stage, summary, shards, partitions)

    try:
        context.take(key, ReportResult, written)
        return []
    except DamagedError:
        # What the report reads is made again.
        raise
    except Exception as error:
        # A report of other settings would say what does not hold of this run.
        runtime.store.delete(REPORT)
        why = one_line(error)[:500]
        said = f"the report could not be written ({why}); the manifests are whole; the same command tries again"
        runtime.events.append("report_failed", detail=said)
        runtime.progress.say(f"warning: {said}")
        return [said]


def _report_in_base(context: RunContext, manifests: Finished[ManifestsResult]) -> InBase | None:
    """Return the report's stage of the base where that reported on the same manifests."""
    reusable = context.reusable
    if reusable is None or manifests.fingerprint not in context.alike:
        return None
    return context.in_base(report_key(reusable.base.record["config"], context.alike[manifests.fingerprint]))
