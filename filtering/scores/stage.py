"""The scores stage: one score a row, by shard, in the way that its scorer asks for."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from filtering.config.run import Config
from filtering.config.scores import Combine, Dlc, NegClipLoss
from filtering.embedding.shape import crew_shape
from filtering.filters.artifacts import PassingShard
from filtering.runtime.engine import Engine
from filtering.runtime.stage import Runtime, Stage
from filtering.runtime.worker import Task
from filtering.runtime.worker_pools import Crew
from filtering.scores import parts, tasks
from filtering.scores.registry import Kind, Spec

VERSION = 3


@dataclass(frozen=True, slots=True)
class Sources:
    """What scorers read.

    Attributes
    ----------
    config : Config
    shards : the pool's shards after the filters.
    rows : how many rows passed the filters.
    dimension : of the vectors.
    concepts, graph : where those stages' objects are.
    partitions : how many there are.
    parts : where the scores are that a combination adds up, in its order.
    """

    config: Config
    shards: Sequence[PassingShard]
    rows: int
    dimension: int
    concepts: str
    graph: str
    partitions: int
    parts: Sequence[str] = ()


# The stage whose result a kind of score follows from: nothing that comes after it changes the score.
INPUTS = {
    Kind.ROWS: "embedding",
    Kind.IMAGES: "concepts",
    Kind.GRAPH: "graph",
    Kind.BATCHES: "filters",
    Kind.CAPTIONS: "filters",
    Kind.TOWERS: "concepts",
    Kind.PARTS: "filters",
}


def scores_stage(runtime: Runtime, spec: Spec, inputs: Sequence[str]) -> Stage:
    """Return the stage; its inputs are the stage of `INPUTS` and, of a combination, the parts' scores."""
    return Stage(runtime, "scores", VERSION, spec.plain(), inputs)


def score(stage: Stage, spec: Spec, sources: Sources) -> dict[str, Any]:
    """Write the score of every row that goes on, by shard; return how many rows have one."""
    WAYS[spec.scorer.kind](stage, spec, sources)
    stage.summary = f"{sources.rows:,} samples scored by {spec.name}"
    return {"rows": sources.rows, "score": spec.name}


def _by_rows(stage: Stage, spec: Spec, sources: Sources) -> None:
    arguments = [Task(s.identity, (s.embedded, spec, stage.store.url)) for s in sources.shards]
    stage.map(lambda engine: engine.tasks(tasks.score_rows), arguments, "shards")


def _by_images(stage: Stage, spec: Spec, sources: Sources) -> None:
    stage.call(tasks.write_context, "context", spec, sources.config, sources.concepts, stage.store.url)
    _over_shards(stage, tasks.score_images, "", sources, (spec, sources.concepts, stage.store.url))


def _by_graph(stage: Stage, spec: Spec, sources: Sources) -> None:
    count, k, url = sources.partitions, sources.config.graph.k, stage.store.url
    arguments = [Task(f"graph-{number:08d}", (number, sources.graph, k, url)) for number in range(count)]
    stage.map(lambda engine: engine.tasks(tasks.score_graph), arguments, "partitions")
    _gather(stage, sources, [tasks.RETURNED_NAME.format(f"{number:08d}") for number in range(count)])


def _by_batches(stage: Stage, spec: Spec, sources: Sources) -> None:
    settings, url = spec.settings, stage.store.url
    assert isinstance(settings, NegClipLoss)
    batches = max(1, round(sources.rows / settings.batch_size))
    names: list[str] = []
    # The whole pool in one batch is the same batch every time.
    for number in range(settings.batchings if batches > 1 else 1):
        counts = _over_shards(stage, tasks.send_pairs, f"send-{number}", sources, (settings, batches, number, url))
        sent = [
            tasks.SENT_NAME.format(s.identity) for s, count in zip(sources.shards, counts, strict=True) if count["rows"]
        ]
        labels = [f"{number}-{batch:08d}" for batch in range(batches)]
        arguments = [
            Task(f"batch-{label}", (batch, sent, settings.temperature, label, url))
            for batch, label in enumerate(labels)
        ]
        found = stage.map(lambda engine: engine.tasks(tasks.score_batch), arguments, "batches")
        names += [
            tasks.RETURNED_NAME.format(label) for label, count in zip(labels, found, strict=True) if count["rows"]
        ]
        # Before the next batching writes under the same names: all vectors of the pool, twice.
        stage.store.delete_all(tasks.SENT_SUFFIX)
    _gather(stage, sources, names)


def _by_captions(stage: Stage, spec: Spec, sources: Sources) -> None:
    url = stage.store.url
    _over_shards(stage, tasks.match_captions, "match", sources, (spec.settings, url))
    stage.call(tasks.count_matches, "counts", [shard.identity for shard in sources.shards], url)
    _over_shards(stage, tasks.score_captions, "score", sources, (spec.settings, url))
    stage.store.delete_all(tasks.MATCHES_SUFFIX)


def _by_towers(stage: Stage, spec: Spec, sources: Sources) -> None:
    url, settings, config = stage.store.url, spec.settings, sources.config
    assert isinstance(settings, Dlc)
    counts = _over_shards(stage, tasks.sum_concepts, "sums", sources, (sources.concepts, url))
    filled = [s.identity for s, count in zip(sources.shards, counts, strict=True) if count["concepts"]]
    stage.call(tasks.write_prototypes, "prototypes", filled, sources.concepts, sources.dimension, url)
    stage.store.delete_all(tasks.SUMS_SUFFIX)

    def actors(engine: Engine) -> Crew:
        shape, _ = crew_shape(config, engine.cpus(), engine.gpus(), len(sources.shards))
        # Masks are in the weights of the one model that an actor has: one shard at a time.
        return engine.actors(_tower_scorer, (config, settings), replace(shape, at_once=1))

    arguments = [Task(f"towers-{s.identity}", (s, sources.concepts, url)) for s in sources.shards]
    stage.map(actors, arguments, "shards")


def _tower_scorer(config: Config, settings: Dlc) -> Callable[..., dict[str, int]]:
    # Torch is loaded by the actor that calls this, not by the driver.
    from filtering.scores.dlc_worker import DlcScorer

    return DlcScorer(config.embedding, settings)


def _by_parts(stage: Stage, spec: Spec, sources: Sources) -> None:
    settings, url = spec.settings, stage.store.url
    assert isinstance(settings, Combine)
    scaled = _ranked if settings.by == "rank" else _measured
    scales = [scaled(stage, sources, f"part-{number}", part) for number, part in enumerate(sources.parts)]
    weights = [part.weight for part in settings.of]
    _over_shards(stage, parts.add_up, "sum", sources, (list(sources.parts), weights, settings.by, scales, url))
    for suffix in (tasks.SENT_SUFFIX, tasks.RETURNED_SUFFIX, parts.HISTOGRAM_SUFFIX):
        stage.store.delete_all(suffix)


def _measured(stage: Stage, sources: Sources, label: str, part: str) -> dict[str, float]:
    """Return the pool's figures of a score."""
    return parts.pool_figures(_over_shards(stage, parts.moments, label, sources, (part,)))


def _ranked(stage: Stage, sources: Sources, label: str, part: str) -> list[str]:
    """Rank the rows of the pool by a score; return the names of the objects that hold the ranks."""
    url = stage.store.url
    _over_shards(stage, parts.count_scores, f"{label}-count", sources, (part, label, url))
    identities = [shard.identity for shard in sources.shards]
    found = stage.call(parts.bound_buckets, f"{label}-bounds", identities, label, url)
    _over_shards(stage, parts.send_ranked, f"{label}-send", sources, (part, label, url))
    sent = [tasks.SENT_NAME.format(f"{label}-{identity}") for identity in identities]
    buckets = range(found["buckets"])
    arguments = [Task(f"{label}-rank-{at:08d}", (at, sent, label, found["rows"], url)) for at in buckets]
    stage.map(lambda engine: engine.tasks(parts.rank_bucket), arguments, "buckets")
    return [tasks.RETURNED_NAME.format(f"{label}-{at:08d}") for at in buckets]


def _gather(stage: Stage, sources: Sources, names: Sequence[str]) -> None:
    _over_shards(stage, tasks.gather_scores, "gather", sources, (list(names), stage.store.url))
    stage.store.delete_all(tasks.RETURNED_SUFFIX)


def _over_shards(
    stage: Stage, function: Callable[..., Any], name: str, sources: Sources, arguments: tuple[Any, ...]
) -> list[Any]:
    prefix = f"{name}-" if name else ""
    work = [Task(f"{prefix}{shard.identity}", (shard, *arguments)) for shard in sources.shards]
    return stage.map(lambda engine: engine.tasks(function), work, "shards")


WAYS: dict[Kind, Callable[[Stage, Spec, Sources], None]] = {
    Kind.ROWS: _by_rows,
    Kind.IMAGES: _by_images,
    Kind.GRAPH: _by_graph,
    Kind.BATCHES: _by_batches,
    Kind.CAPTIONS: _by_captions,
    Kind.TOWERS: _by_towers,
    Kind.PARTS: _by_parts,
}
