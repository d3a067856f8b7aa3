"""The scores stage: one score a row, by shard, in the way that its scorer asks for."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Concatenate, ParamSpec, TypeVar

from filtering.config.run import Embedding, Ray
from filtering.config.scores import Combine, Dlc, MetaClip, NegClipLoss
from filtering.embedding.shape import embedder_shape
from filtering.filters.artifacts import PassingShard
from filtering.runtime.stage import StageKey, StageRun
from filtering.runtime.task_spec import ActorPlan, Actors, Capacity, task
from filtering.scores import parts, tasks
from filtering.scores.artifacts import ScoresResult
from filtering.scores.registry import Kind, Spec

VERSION = 3
P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Sources:
    """What scorers read.

    Attributes
    ----------
    model : the `embedding` section of the configuration; None for metadata, which has no model.
    workers : the `ray` section of the configuration.
    k : neighbours of a row in the graph.
    shards : the pool's shards after the filters.
    rows : how many rows passed the filters.
    dimension : of the vectors.
    concepts, graph : where those stages' objects are.
    partitions : how many there are.
    parts : where the scores are that a combination adds up, in its order.
    """

    model: Embedding | None
    workers: Ray
    k: int
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


def scores_key(spec: Spec, inputs: Sequence[str]) -> StageKey:
    """Return the stage's identity; its inputs are the stage of `INPUTS` and, of a combination, the parts' scores."""
    return StageKey("scores", VERSION, spec.plain(), tuple(inputs))


def score(stage: StageRun, spec: Spec, sources: Sources) -> ScoresResult:
    """Write the score of every row that goes on, by shard; return how many rows have one."""
    WAYS[spec.scorer.kind](stage, spec, sources)
    return ScoresResult(sources.rows, spec.name)


def _by_rows(stage: StageRun, spec: Spec, sources: Sources) -> None:
    arguments = [task(s.identity, tasks.score_rows, s.embedded, spec, stage.store.url) for s in sources.shards]
    stage.map(arguments, "shards")


def _by_images(stage: StageRun, spec: Spec, sources: Sources) -> None:
    stage.call("context", tasks.write_context, spec, sources.model, sources.concepts, stage.store.url)
    _over_shards(stage, "", sources, tasks.score_images, spec, sources.concepts, stage.store.url)


def _by_graph(stage: StageRun, spec: Spec, sources: Sources) -> None:
    count, k, url = sources.partitions, sources.k, stage.store.url
    arguments = [
        task(f"graph-{number:08d}", tasks.score_graph, number, sources.graph, k, url) for number in range(count)
    ]
    stage.map(arguments, "partitions")
    _gather(stage, sources, [tasks.RETURNED_NAME.format(f"{number:08d}") for number in range(count)])


def _by_batches(stage: StageRun, spec: Spec, sources: Sources) -> None:
    settings, url = spec.settings, stage.store.url
    assert isinstance(settings, NegClipLoss)
    batches = max(1, round(sources.rows / settings.batch_size))
    names: list[str] = []
    # The whole pool in one batch is the same batch every time.
    for number in range(settings.batchings if batches > 1 else 1):
        counts = _over_shards(stage, f"send-{number}", sources, tasks.send_pairs, settings, batches, number, url)
        sent = [
            tasks.SENT_NAME.format(s.identity) for s, count in zip(sources.shards, counts, strict=True) if count["rows"]
        ]
        labels = [f"{number}-{batch:08d}" for batch in range(batches)]
        arguments = [
            task(f"batch-{label}", tasks.score_batch, batch, sent, settings.temperature, label, url)
            for batch, label in enumerate(labels)
        ]
        found = stage.map(arguments, "batches")
        names += [
            tasks.RETURNED_NAME.format(label) for label, count in zip(labels, found, strict=True) if count["rows"]
        ]
        # Before the next batching writes under the same names: all vectors of the pool, twice.
        stage.store.delete_all(tasks.SENT_SUFFIX)
    _gather(stage, sources, names)


def _by_captions(stage: StageRun, spec: Spec, sources: Sources) -> None:
    settings, url = spec.settings, stage.store.url
    assert isinstance(settings, MetaClip)
    _over_shards(stage, "match", sources, tasks.match_captions, settings, url)
    stage.call("counts", tasks.count_matches, [shard.identity for shard in sources.shards], url)
    _over_shards(stage, "score", sources, tasks.score_captions, settings, url)
    stage.store.delete_all(tasks.MATCHES_SUFFIX)


def _by_towers(stage: StageRun, spec: Spec, sources: Sources) -> None:
    url, settings, model = stage.store.url, spec.settings, sources.model
    assert isinstance(settings, Dlc) and model is not None
    counts = _over_shards(stage, "sums", sources, tasks.sum_concepts, sources.concepts, url)
    filled = [s.identity for s, count in zip(sources.shards, counts, strict=True) if count["concepts"]]
    stage.call("prototypes", tasks.write_prototypes, filled, sources.concepts, sources.dimension, url)
    stage.store.delete_all(tasks.SUMS_SUFFIX)

    actors = Actors(partial(_tower_plan, model, settings, sources.workers, len(sources.shards)))
    tasks_ = [actors.task(f"towers-{s.identity}", s, sources.concepts, url) for s in sources.shards]
    stage.map(tasks_, "shards", actors)


def _tower_plan(
    model: Embedding, settings: Dlc, workers: Ray, shards: int, capacity: Capacity
) -> ActorPlan[[PassingShard, str, str], dict[str, int]]:
    shape, _ = embedder_shape(model, workers, capacity, shards)
    # Masks are in the weights of the one model that an actor has: one shard at a time.
    return ActorPlan(replace(shape, at_once=1), partial(_tower_scorer, model, settings))


def _tower_scorer(model: Embedding, settings: Dlc) -> Callable[[PassingShard, str, str], dict[str, int]]:
    # Torch is loaded by the actor that calls this, not by the driver.
    from filtering.scores.dlc_worker import DlcScorer

    return DlcScorer(model, settings)


def _by_parts(stage: StageRun, spec: Spec, sources: Sources) -> None:
    settings, url = spec.settings, stage.store.url
    assert isinstance(settings, Combine)
    scaled = _ranked if settings.by == "rank" else _measured
    scales = [scaled(stage, sources, f"part-{number}", part) for number, part in enumerate(sources.parts)]
    weights = [part.weight for part in settings.of]
    _over_shards(stage, "sum", sources, parts.add_up, list(sources.parts), weights, settings.by, scales, url)
    for suffix in (tasks.SENT_SUFFIX, tasks.RETURNED_SUFFIX, parts.HISTOGRAM_SUFFIX):
        stage.store.delete_all(suffix)


def _measured(stage: StageRun, sources: Sources, label: str, part: str) -> dict[str, float]:
    """Return the pool's figures of a score."""
    return parts.pool_figures(_over_shards(stage, label, sources, parts.moments, part))


def _ranked(stage: StageRun, sources: Sources, label: str, part: str) -> list[str]:
    """Rank the rows of the pool by a score; return the names of the objects that hold the ranks."""
    url = stage.store.url
    _over_shards(stage, f"{label}-count", sources, parts.count_scores, part, label, url)
    identities = [shard.identity for shard in sources.shards]
    found = stage.call(f"{label}-bounds", parts.bound_buckets, identities, label, url)
    _over_shards(stage, f"{label}-send", sources, parts.send_ranked, part, label, url)
    sent = [tasks.SENT_NAME.format(f"{label}-{identity}") for identity in identities]
    buckets = range(found["buckets"])
    arguments = [
        task(f"{label}-rank-{at:08d}", parts.rank_bucket, at, sent, label, found["rows"], url) for at in buckets
    ]
    stage.map(arguments, "buckets")
    return [tasks.RETURNED_NAME.format(f"{label}-{at:08d}") for at in buckets]


def _gather(stage: StageRun, sources: Sources, names: Sequence[str]) -> None:
    _over_shards(stage, "gather", sources, tasks.gather_scores, list(names), stage.store.url)
    stage.store.delete_all(tasks.RETURNED_SUFFIX)


def _over_shards(
    stage: StageRun,
    name: str,
    sources: Sources,
    function: Callable[Concatenate[PassingShard, P], R],
    /,
    *args: P.args,
    **kwargs: P.kwargs,
) -> list[R]:
    prefix = f"{name}-" if name else ""
    work = [task(f"{prefix}{shard.identity}", function, shard, *args, **kwargs) for shard in sources.shards]
    return stage.map(work, "shards")


WAYS: dict[Kind, Callable[[StageRun, Spec, Sources], None]] = {
    Kind.ROWS: _by_rows,
    Kind.IMAGES: _by_images,
    Kind.GRAPH: _by_graph,
    Kind.BATCHES: _by_batches,
    Kind.CAPTIONS: _by_captions,
    Kind.TOWERS: _by_towers,
    Kind.PARTS: _by_parts,
}
