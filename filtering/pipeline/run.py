"""The stages in order: what each reads, writes and depends on."""

import contextlib
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from filtering.concepts.artifacts import grouped_names, read_concepts
from filtering.concepts.frozen import kept_of, take_over_concepts
from filtering.concepts.stage import NAME as CONCEPTS
from filtering.concepts.stage import concepts_stage, find_concepts, group_rows, partitions_stage
from filtering.config.run import Config
from filtering.core.errors import FilteringError, InputError
from filtering.embedding.checkpoint import model_files
from filtering.embedding.stage import check_base, embed, embedded_shards, embedding_stage
from filtering.filters.artifacts import PassingShard
from filtering.filters.checks import check_filters
from filtering.filters.stage import apply_filters, filters_stage
from filtering.graph.stage import build_graph, graph_stage, needs_grouped_rows
from filtering.manifests.stage import manifests_stage, write_manifests
from filtering.measures.stage import measure, measures_stage
from filtering.pipeline.context import Way
from filtering.pipeline.selection_steps import Selecting, check_steps
from filtering.pipeline.summary import run_summary
from filtering.report.stage import report_stage, write_report
from filtering.runtime.engine import Engine
from filtering.runtime.events import EventLog
from filtering.runtime.finished_run import Base, carried_from, read_base
from filtering.runtime.progress import Reporter, reporter
from filtering.runtime.run_record import RUN
from filtering.runtime.stage import Runtime, Stage, leased
from filtering.selection.artifacts import Sieve
from filtering.selection.stage import Pool
from filtering.shards.inventory import Shard, arrays_url, list_shards, write_inventory
from filtering.shards.metadata import UnreadableError, array_names
from filtering.storage.store import Store, absolute, digest

# The stages that write under fixed names, manifest/ and report/, rather than under their fingerprint.
FINAL = "final.json"


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
        One line: the key, what is wrong, the nearest valid name.
    """
    check_filters(config.filters)
    check_steps(config)
    shards = list_shards(config.input)
    if config.input.metadata is not None:
        _check_arrays(config, shards)
    else:
        model_files(config.embedding)
    if base is not None:
        check_base(base, config)
    _origin(config, base)
    return shards


def run(
    config: Config,
    progress: Reporter | None = None,
    base: Base | None = None,
    shards: list[Shard] | None = None,
) -> dict[str, Any]:
    """Start or resume a run and return its run.json.

    Parameters
    ----------
    config : Config
        The run's configuration.
    progress : Reporter, optional
        Told how it goes.
    base : Base, optional
        A finished run; what it knows of the pool is not computed again.
    shards : list of Shard, optional
        What `check` returned, where it was asked already.

    Returns
    -------
    dict
        The run.json that was written last: totals, reasons, settings, hashes and what each stage took.

    Raises
    ------
    InputError
        If the configuration or the pool cannot work; nothing has been written then.
    RunError
        If a stage fails; what it finished stays, and the same call resumes it.
    """
    shards = check(config, base) if shards is None else shards
    store = Store(absolute(config.output))
    progress = progress or reporter()
    with leased(store, progress) as lease:
        events = EventLog(store, lease.check)
        events.append("run_started", config_hash=config.digest(), shards=len(shards))
        if lease.taken_over_from:
            events.append("lease_taken_over", holder=lease.taken_over_from)
        events.flush()
        runtime = Runtime(store, Engine(config.ray), events, progress, lease)
        try:
            carried = None if base is None else carried_from(base, shards)
            record = _through_the_stages(Way(config, runtime, shards, carried))
            events.flush()
        except BaseException as error:
            # A run that lost its lease may not even say so: the log is the new holder's.
            with contextlib.suppress(FilteringError):
                events.append("run_failed", error=type(error).__name__, detail=str(error))
                events.flush()
            raise
        finally:
            runtime.progress.stop()
            runtime.engine.stop()
    return record


def _through_the_stages(way: Way) -> dict[str, Any]:
    config, runtime = way.config, way.runtime
    inventory = _inventory(runtime, way.shards)
    way.take(inventory, lambda stage: _write_inventory(stage, way.shards))

    embedding = embedding_stage(runtime, config, inventory.fingerprint)
    found = way.take(embedding, lambda stage: embed(stage, config, way.shards, way.carried))
    samples, embedded_rows = found["by_shard"], found["rows"]
    embedded = embedded_shards(embedding, config, way.shards)

    filters = filters_stage(runtime, config, embedding.fingerprint)
    judged = way.take(filters, lambda stage: apply_filters(stage, config, embedded, embedded_rows, way.carried))
    rows = judged["passed"]
    if way.carried is not None:
        way.carried = replace(way.carried, same=frozenset(judged["same"]))
    passing = [PassingShard(shard, filters.store.url) for shard in embedded]

    _graph(way, passing, rows)
    pool = Pool(passing, way.stores["concepts"], way.stores["graph"], way.results["concepts"]["partitions"])
    selecting = Selecting(way, pool, rows)
    sieves = selecting.run()
    _measure(way, passing, rows)
    return _finish(way, passing, samples, sieves, selecting)


def run_id(config: Config, shards: list[Shard]) -> str:
    """Return what identifies a run: the hash of its configuration and its pool."""
    return _run_id(config.digest(), _inventory(None, shards).fingerprint)


def _run_id(config_hash: str, inventory: str) -> str:
    return digest([config_hash, inventory])


def _inventory(runtime: Any, shards: list[Shard]) -> Stage:
    return Stage(runtime, "inventory", 1, [shard.plain() for shard in shards])


def _graph(way: Way, passing: list[PassingShard], rows: int) -> None:
    config, runtime = way.config, way.runtime
    concepts = _concepts(way, passing, rows)
    partitions = partitions_stage(runtime, concepts.fingerprint)
    graph = graph_stage(runtime, config, partitions.fingerprint)
    if needs_grouped_rows(graph) and partitions.finished() and not grouped_names(partitions.store):
        # They went when a graph had been searched; that graph is not this one.
        partitions.forget()
    way.take(partitions, lambda stage: group_rows(stage, config, passing, concepts.store.url))
    table, dimension = read_concepts(concepts.store), way.results["concepts"]["dimension"]
    urls = (partitions.store.url, concepts.store.url)
    way.take(graph, lambda stage: build_graph(stage, config, *urls, table, dimension, way.carried))


def _concepts(way: Way, passing: list[PassingShard], rows: int) -> Stage:
    """Find concepts, or take over those of the base or of the run that the configuration names."""
    config, runtime, filters = way.config, way.runtime, way.fingerprints["filters"]
    origin = _origin(config, way.carried.base if way.carried else None)
    if origin is None:
        stage = concepts_stage(runtime, config, filters)
        way.take(stage, lambda stage: find_concepts(stage, config, passing, rows))
        return stage
    store, identity = origin
    kept = kept_of(way.carried, identity, config)
    stage = concepts_stage(runtime, config, filters, identity)
    way.take(stage, lambda stage: take_over_concepts(stage, config, passing, rows, store, kept))
    return stage


def _origin(config: Config, base: Base | None) -> tuple[Store, str] | None:
    """Return where the concepts are that are taken over, and what identifies them; None where they are trained.

    Raises
    ------
    InputError
        If the run that `concepts.centroids` names is not there, or knows no concepts that could be taken over.
    """
    named = config.concepts.centroids
    origin = base if named is None else read_base(absolute(named), "concepts.centroids")
    if origin is None or config.concepts.refit:
        return None
    found = origin.result(CONCEPTS)
    if "identity" not in found:
        raise InputError(f"{origin.url}: its concepts are of an older version of filtering; train them anew")
    # A pool of which nothing passed has none.
    return (origin.store(CONCEPTS), found["identity"]) if found["centroids"] else None


def _measure(way: Way, passing: list[PassingShard], rows: int) -> None:
    stage = measures_stage(way.runtime, way.fingerprints["selection"], way.fingerprints["graph"])
    urls = (way.stores["selection"], way.stores["concepts"], way.stores["graph"])
    kept, partitions = way.results["selection"]["picks"], way.results["concepts"]["partitions"]
    way.take(stage, lambda stage: measure(stage, passing, rows, kept, partitions, urls))


def _finish(
    way: Way, passing: list[PassingShard], samples: list[int], sieves: Sequence[Sieve], selecting: Selecting
) -> dict[str, Any]:
    config, runtime, prints = way.config, way.runtime, way.fingerprints
    reasons = [sieve.reason for sieve in sieves]
    manifests = manifests_stage(runtime, reasons, prints["filters"], prints["selection"])
    _make_room(runtime, manifests)
    way.take(manifests, lambda stage: write_manifests(stage, sieves, passing, samples))
    report = report_stage(runtime, config, manifests.fingerprint)
    summary = run_summary(way, selecting, _run_id(config.digest(), prints["inventory"]))
    partitions = way.results["concepts"]["partitions"]
    way.take(report, lambda stage: write_report(stage, config, passing, summary, partitions))
    record = {**summary, "stages": way.costs, "finished": round(time.time(), 3)}
    runtime.lease.check(fresh=True)
    runtime.store.write_json(RUN, record)
    totals = {name: record["totals"][name] for name in ("input", "kept", "dropped", "quarantined")}
    runtime.events.append("run_finished", manifest_hash=record["manifest_hash"], **totals)
    return record


def _make_room(runtime: Runtime, manifests: Stage) -> None:
    """Forget manifests of another selection before this one writes under the same names."""
    store = runtime.store
    final = Store(store.path("stages"))
    if final.exists(FINAL) and final.read_json(FINAL) == manifests.fingerprint:
        return
    runtime.lease.check(fresh=True)
    store.delete(RUN)
    final.delete_folders("manifests-")
    final.delete_folders("report-")
    store.delete_folders("manifest")
    store.delete_folders("report")
    final.write_json(FINAL, manifests.fingerprint)


def _write_inventory(stage: Stage, shards: list[Shard]) -> dict[str, int]:
    write_inventory(stage.store, shards)
    size = sum(shard.size for shard in shards)
    stage.summary = f"{len(shards):,} shards, {size / 1e6:,.1f} MB"
    return {"shards": len(shards), "bytes": size}


def _check_arrays(config: Config, shards: list[Shard]) -> None:
    """Look for the named arrays in the first npz that can be read; one that cannot is quarantined later."""
    for shard in shards:
        url = arrays_url(shard)
        try:
            names = array_names(url)
        except (UnreadableError, FileNotFoundError):
            continue
        for name in (config.input.arrays.image, config.input.arrays.text):
            if name not in names:
                raise InputError(f"input.arrays: {url} has no array {name}; it has {', '.join(names)}")
        return
    raise InputError(f"input.metadata: no npz can be read, {arrays_url(shards[0])} for one")
