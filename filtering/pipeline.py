"""The stages in order: what each reads, writes and depends on."""

import contextlib
import platform
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import filtering
from filtering.concepts.objects import grouped_names, read_concepts
from filtering.concepts.stage import concepts_stage, find_concepts, group_rows, partitions_stage
from filtering.config import Config, ScoreTable
from filtering.embedding.checkpoint import model_files
from filtering.embedding.objects import EmbeddedShard
from filtering.embedding.stage import embed, embedded_shards, embedding_stage
from filtering.engine import Engine
from filtering.errors import FilteringError, InputError, one_line
from filtering.events import EventLog
from filtering.filters.objects import PassingShard
from filtering.filters.stage import apply_filters, filters_stage
from filtering.graph.stage import build_graph, graph_stage, needs_grouped_rows
from filtering.lease import Lease
from filtering.manifests.objects import RUN
from filtering.manifests.stage import manifests_stage, write_manifests
from filtering.progress import Reporter, reporter
from filtering.report.stage import report_stage, write_report
from filtering.scores.registry import scorer
from filtering.scores.stage import score, scores_stage
from filtering.scores.table_column import check_table
from filtering.selection.registry import budget, selector
from filtering.selection.stage import select_coreset, selection_stage
from filtering.shards.inventory import Shard, arrays_url, list_shards
from filtering.shards.metadata import UnreadableError, array_names
from filtering.stage import Runtime, Stage
from filtering.storage import Store, absolute, digest

PACKAGES = ("ray", "numpy", "pyarrow", "faiss-cpu", "open_clip_torch", "torch")
# The stages that write under fixed names, manifest/ and report/, rather than under their fingerprint.
FINAL = "final.json"


@dataclass(slots=True)
class Way:
    """One run on its way through the stages: what is known so far."""

    config: Config
    runtime: Runtime
    shards: list[Shard]
    costs: list[dict[str, Any]] = field(default_factory=list)
    results: dict[str, Any] = field(default_factory=dict)
    stores: dict[str, str] = field(default_factory=dict)
    fingerprints: dict[str, str] = field(default_factory=dict)

    def take(self, stage: Stage, body: Callable[[Stage], Any]) -> Any:
        """Run a stage, keep what it found and what it cost, and return its result."""
        record = stage.run(body)
        self.costs.append(record["cost"])
        self.results[stage.name] = record["result"]
        self.stores[stage.name] = stage.store.url
        self.fingerprints[stage.name] = stage.fingerprint
        return record["result"]


def check(config: Config) -> list[Shard]:
    """Refuse what cannot work before any work is done, and return the pool's shards.

    Raises
    ------
    InputError
        One line: the key, what is wrong, the nearest valid name.
    """
    selector(config.selection.method)
    budget(config.selection.budget)
    scorer(config.selection.score)
    if isinstance(config.selection.score, ScoreTable):
        check_table(config.selection.score)
    shards = list_shards(config.input)
    if config.input.metadata is not None:
        _check_arrays(config, shards)
    else:
        model_files(config.embedding)
    return shards


def run(config: Config, progress: Reporter | None = None) -> dict[str, Any]:
    """Start or resume a run and return its run.json.

    Raises
    ------
    InputError
        If the configuration or the pool cannot work; nothing has been written then.
    RunError
        If a stage fails; what it finished stays, and the same call resumes it.
    """
    shards = check(config)
    store = Store(absolute(config.output))
    progress = progress or reporter()
    with _leased(store, progress) as lease:
        events = EventLog(store, lease.check)
        events.append("run_started", config_hash=config.digest(), shards=len(shards))
        if lease.taken_over_from:
            events.append("lease_taken_over", holder=lease.taken_over_from)
        events.flush()
        runtime = Runtime(store, Engine(config.ray), events, progress, lease)
        try:
            record = _through_the_stages(Way(config, runtime, shards))
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


@contextlib.contextmanager
def _leased(store: Store, progress: Reporter) -> Iterator[Lease]:
    """Hold the lease on the output: the first write, which tells whether anything can be written at all."""
    lease = Lease(store, announce=progress.say)
    try:
        lease.__enter__()
    except FilteringError:
        raise
    except Exception as error:
        # Every filesystem has errors of its own, and each of them means the same here.
        raise InputError(f"output: {store.url} cannot be written ({one_line(error)})") from error
    try:
        yield lease
    finally:
        lease.release()


def _through_the_stages(way: Way) -> dict[str, Any]:
    config, runtime = way.config, way.runtime
    inventory = Stage(runtime, "inventory", 1, [shard.plain() for shard in way.shards])
    way.take(inventory, lambda stage: _write_inventory(stage, way.shards))

    embedding = embedding_stage(runtime, config, inventory.fingerprint)
    found = way.take(embedding, lambda stage: embed(stage, config, way.shards))
    samples, embedded_rows = found["by_shard"], found["rows"]
    embedded = embedded_shards(embedding, config, way.shards)

    filters = filters_stage(runtime, config, embedding.fingerprint)
    rows = way.take(filters, lambda stage: apply_filters(stage, config, embedded, embedded_rows))["passed"]
    passing = [PassingShard(shard, filters.store.url) for shard in embedded]

    _graph(way, passing, rows)
    _selection(way, embedded, passing)
    return _finish(way, passing, samples)


def _graph(way: Way, passing: list[PassingShard], rows: int) -> None:
    config, runtime = way.config, way.runtime
    concepts = concepts_stage(runtime, config, way.fingerprints["filters"])
    way.take(concepts, lambda stage: find_concepts(stage, config, passing, rows))
    partitions = partitions_stage(runtime, concepts.fingerprint)
    graph = graph_stage(runtime, config, partitions.fingerprint)
    if needs_grouped_rows(graph) and partitions.finished() and not grouped_names(partitions.store):
        # They went when a graph had been searched; that graph is not this one.
        partitions.forget()
    way.take(partitions, lambda stage: group_rows(stage, config, passing, concepts.store.url))
    table, dimension = read_concepts(concepts.store), way.results["concepts"]["dimension"]
    urls = (partitions.store.url, concepts.store.url)
    way.take(graph, lambda stage: build_graph(stage, config, *urls, table, dimension))


def _selection(way: Way, embedded: list[EmbeddedShard], passing: list[PassingShard]) -> None:
    config, runtime, prints = way.config, way.runtime, way.fingerprints
    scores = scores_stage(runtime, config, prints["embedding"])
    way.take(scores, lambda stage: score(stage, config, embedded))
    selection = selection_stage(runtime, config, prints["graph"], scores.fingerprint)
    urls = (way.stores["concepts"], way.stores["graph"], scores.store.url)
    way.take(selection, lambda stage: select_coreset(stage, config, passing, *urls))


def _finish(way: Way, passing: list[PassingShard], samples: list[int]) -> dict[str, Any]:
    config, runtime, prints = way.config, way.runtime, way.fingerprints
    method, picks = config.selection.method, way.stores["selection"]
    manifests = manifests_stage(runtime, method, prints["filters"], prints["selection"])
    _make_room(runtime, manifests)
    way.take(manifests, lambda stage: write_manifests(stage, method, passing, samples, picks))
    report = report_stage(runtime, config, manifests.fingerprint)
    summary = _summary(way)
    way.take(report, lambda stage: write_report(stage, config, passing, summary, way.stores))
    record = {**summary, "stages": way.costs}
    runtime.lease.check(fresh=True)
    runtime.store.write_json(RUN, record)
    totals = {name: record["totals"][name] for name in ("input", "kept", "dropped", "quarantined")}
    runtime.events.append("run_finished", manifest_hash=record["manifest_hash"], **totals)
    return record


def _summary(way: Way) -> dict[str, Any]:
    """Return run.json as far as it is known once the manifests are written."""
    results, config_hash = way.results, way.config.digest()
    inventory = way.fingerprints["inventory"]
    return {
        "run_id": digest([config_hash, inventory]),
        "config": way.config.resolved(),
        "config_hash": config_hash,
        "versions": _versions(),
        "stages": list(way.costs),
        "recall": results["graph"]["recall"],
        "graph": results["graph"],
        "totals": results["manifests"]["totals"],
        "reasons": results["manifests"]["reasons"],
        "warnings": _warnings(results),
        "objects": {name: url.removeprefix(f"{way.runtime.store.url}/") for name, url in way.stores.items()},
        "manifest_hash": results["manifests"]["manifest_hash"],
    }


def _warnings(results: dict[str, Any]) -> list[str]:
    found = []
    wanted, available = results["selection"]["wanted"], results["selection"]["available"]
    if available == 0:
        found.append("no sample reached selection, so nothing is kept; the reasons below say why")
    elif wanted > available:
        found.append(f"selection.keep asks for {wanted:,} samples, but only {available:,} reached selection")
    if results["graph"]["recall"] < 0.9:
        found.append(
            f"the graph's recall is {results['graph']['recall']:.2f}; a larger graph.guests or graph.recall raises it"
        )
    return found


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
    stage.store.write_json("shards.json", [shard.plain() for shard in shards])
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


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "filtering": filtering.__version__}
    for name in PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found
