"""The scores stage: one score a row, by shard; how it is computed depends on the kind of scorer."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from filtering.config.embedding import Embedding
from filtering.config.run import Ray
from filtering.config.scores import CentredScore, Combine, Dlc, MetaClip, NegClipLoss
from filtering.core.errors import RunError
from filtering.core.uid_rule import UidRule
from filtering.embedding.shape import embedder_shape
from filtering.filters.artifacts import PassingShard, of_concepts
from filtering.filters.phrases import entries_identity, read_entries
from filtering.runtime.rank_counts import COUNTS_SUFFIX, add_counts, counts_of
from filtering.runtime.shard_groups import of_shard, sent_names
from filtering.runtime.stage import StageKey, StageRun
from filtering.runtime.stage_objects import consume
from filtering.runtime.sums import summed_objects
from filtering.runtime.task_spec import ActorPlan, Actors, Capacity, task
from filtering.scores import parts, right_stage, tasks
from filtering.scores.artifacts import ScoresResult
from filtering.scores.contexts import ContextSources, Files
from filtering.scores.registry import Spec, parts_of, side_of
from filtering.scores.scorer import Kind
from filtering.scores.sources import Sources
from filtering.scores.titles import title_of
from filtering.storage.store import Store
from filtering.storage.versions import check_unchanged

if TYPE_CHECKING:
    from filtering.scores.dlc_worker import ScoredRows

TowerScorer = Callable[[PassingShard, Store, Store], "ScoredRows"]

VERSION = 3
# Of scores that are kept as float64.
WIDE_VERSION = 4
# Of combinations, whatever their scores are kept as.
PARTS_VERSION = 6
# Of MetaCLIP's: a list of entries may be JSON.
ENTRIES_VERSION = 5
# Of what is computed of vectors, and what is made of it: the same bits on every CPU.
VECTORS_VERSION = 8


# The scales of combinations that are called otherwise than in the configuration.
SCALES = {"rank": "ranks", "zscore": "z-scores"}
# The stage whose result a kind of score follows from: nothing that comes after it changes the score.
INPUTS = {
    Kind.ROWS: "embedding",
    Kind.IMAGES: "concepts",
    Kind.GRAPH: "graph",
    Kind.BATCHES: "filters",
    Kind.CAPTIONS: "filters",
    Kind.TOWERS: "concepts",
    Kind.PARTS: "filters",
    Kind.CENTRED: "filters",
    Kind.NEIGHBOURS: "graph",
    Kind.RIGHT: "filters",
}


def scores_key(spec: Spec, inputs: Sequence[str], files: Files) -> StageKey:
    """Return the stage's identity; its inputs are the stage of `INPUTS` and the scores of its parts, if it has any.

    `files` are the files that the score reads: it is another score when one of them changes, or another version of a
    package brings another list under the same name.
    """
    read: list[list[Any]] = [[url, version.size, version.mark] for url, version in sorted(files.items())]
    if isinstance(spec.settings, MetaClip) and spec.settings.entries not in files:
        read.append([spec.settings.entries, entries_identity(read_entries(spec.settings.entries).names)])
    settings = [*spec.plain(), read] if read else spec.plain()
    version = WIDE_VERSION if spec.wide else VERSION
    if spec.scorer.kind is Kind.PARTS:
        version = PARTS_VERSION
    elif isinstance(spec.settings, MetaClip):
        version = ENTRIES_VERSION
    elif spec.scorer.kind in (Kind.IMAGES, Kind.BATCHES, Kind.CENTRED, Kind.NEIGHBOURS, Kind.RIGHT):
        version = VECTORS_VERSION
    return StageKey("scores", version, settings, tuple(inputs))


def score(stage: StageRun, spec: Spec, sources: Sources, files: Files, purpose: str = "") -> ScoresResult:
    """Write the score of every row that goes on, by shard; return how many rows have one, and what it is for.

    Of `files` the versions are read that name the stage. RunError if one was written again meanwhile; the stage is then
    forgotten.
    """
    try:
        found = COMPUTE[spec.scorer.kind](stage, spec, replace(sources, files=files))
    finally:
        # Also where a task failed: it may have met half of what is being written.
        _check_files(stage, files)
    found = found or ScoresResult(sources.rows, title_of(spec))
    return replace(found, purpose=purpose)


def _check_files(stage: StageRun, files: Files) -> None:
    try:
        check_unchanged(files)
    except RunError:
        stage.forget()
        raise


def _of_rows(stage: StageRun, spec: Spec, sources: Sources) -> None:
    files, store = sources.files, stage.store
    stage.over_shards("", "shards", sources.shards, tasks.score_rows, spec, files, store)


def _of_images(stage: StageRun, spec: Spec, sources: Sources) -> None:
    by_concepts = spec.scorer.by_concepts
    shards = of_concepts(sources.shards) if by_concepts else sources.shards
    model, dimension = sources.of_concepts if by_concepts else (sources.model, sources.dimension)
    read = ContextSources(model, sources.concepts, dimension, sources.files)
    stage.call("context", tasks.write_context, spec, read, stage.store)
    stage.over_shards("", "shards", shards, tasks.score_images, spec, sources.concepts, stage.store)


def _of_graph(stage: StageRun, spec: Spec, sources: Sources) -> None:
    graph = sources.graphs["image"]
    labels = [f"{number:08d}" for number in range(graph.partitions)]
    scoring = [
        task(f"graph-{label}", tasks.score_graph, number, graph.store, sources.k, stage.store)
        for number, label in enumerate(labels)
    ]
    stage.map(scoring, "partitions")
    _gather(stage, sources, [tasks.RETURNED_NAME.format(label) for label in labels])


def _of_batches(stage: StageRun, spec: Spec, sources: Sources) -> None:
    settings = spec.settings
    assert isinstance(settings, NegClipLoss)
    batches = max(1, round(sources.rows / settings.batch_size))
    # The whole pool in one batch is the same batch every time.
    batchings = range(settings.batchings if batches > 1 else 1)
    _gather(
        stage, sources, [name for number in batchings for name in _batching(stage, settings, sources, batches, number)]
    )


def _batching(stage: StageRun, settings: NegClipLoss, sources: Sources, batches: int, number: int) -> list[str]:
    """Score the pool once in random batches; return the names of the objects that hold the scores."""
    counts = stage.over_shards(
        f"pairs-{number}", "shards", sources.shards, tasks.send_pairs, settings, batches, number, stage.store
    )
    own, filled = f"-{number}{tasks.SENT_SUFFIX}", [count["rows"] for count in counts]
    sent = sent_names(lambda identity: f"{identity}{own}", sources.shards, filled)
    labels = [f"{number}-{at:08d}" for at in range(batches)]
    scoring = [
        task(f"batch-{label}", tasks.score_batch, batch, sent, settings.temperature, label, stage.store)
        for batch, label in enumerate(labels)
    ]
    found = stage.map(scoring, "batches")
    # Before the next batching: all vectors of the pool, twice. A later one may have begun before a kill: its own stay.
    consume(stage.store, own)
    return [tasks.RETURNED_NAME.format(label) for label, count in zip(labels, found, strict=True) if count["rows"]]


def _of_captions(stage: StageRun, spec: Spec, sources: Sources) -> None:
    settings = spec.settings
    assert isinstance(settings, MetaClip)
    stage.over_shards("match", "shards", sources.shards, tasks.match_captions, settings, sources.files, stage.store)
    matches = [tasks.MATCHES_NAME.format(shard.identity) for shard in sources.shards]
    counts = summed_objects(stage, "counts", matches, tasks.add_matches, tasks.MATCHES_SUFFIX)
    stage.call("counts", tasks.count_matches, counts, stage.store)
    stage.over_shards("score", "shards", sources.shards, tasks.score_captions, settings, stage.store)
    consume(stage.store, tasks.MATCHES_SUFFIX)


def _of_towers(stage: StageRun, spec: Spec, sources: Sources) -> None:
    concepts, settings, model = sources.concepts, spec.settings, sources.model
    assert isinstance(settings, Dlc) and model is not None
    counts = stage.over_shards("sums", "shards", sources.shards, tasks.sum_concepts, concepts, stage.store)
    filled = [s.identity for s, count in zip(sources.shards, counts, strict=True) if count["concepts"]]
    stage.call("prototypes", tasks.write_prototypes, filled, concepts, sources.dimension, stage.store)
    consume(stage.store, tasks.SUMS_SUFFIX)
    scorer = partial(_tower_scorer, model, settings, sources.uid_rule)
    actors = Actors(partial(_tower_plan, scorer, model, sources.workers, len(sources.shards)))
    scoring = [of_shard(actors.task(f"towers-{s.identity}", s, concepts, stage.store), s) for s in sources.shards]
    stage.map(scoring, "shards", actors)


def _tower_plan(
    scorer: Callable[[], TowerScorer], model: Embedding, workers: Ray, shards: int, capacity: Capacity
) -> ActorPlan[[PassingShard, Store, Store], "ScoredRows"]:
    shape, _ = embedder_shape(model, workers, capacity, shards)
    # Masks are in the weights of the one model that an actor has: one shard at a time.
    return ActorPlan(replace(shape, at_once=1), scorer, model.model)


def _tower_scorer(model: Embedding, settings: Dlc, uid_rule: UidRule) -> TowerScorer:
    # Torch is loaded by the actor that calls this, not by the driver.
    from filtering.scores.dlc_worker import DlcScorer

    return DlcScorer(model, settings, uid_rule)


def _of_parts(stage: StageRun, spec: Spec, sources: Sources) -> ScoresResult:
    settings, scaled = spec.settings, list[parts.Part]()
    assert isinstance(settings, Combine)
    for number, (scores, part) in enumerate(zip(sources.parts, settings.of, strict=True)):
        label = f"part-{number}"
        if settings.by == "rank":
            scale: parts.Scale = _ranks(stage, sources, label, scores)
        else:
            scale = parts.pool_figures(stage.over_shards(label, "shards", sources.shards, parts.moments, scores))
        scaled.append(parts.Part(scores, part.weight, scale))
    stage.over_shards("sum", "shards", sources.shards, parts.add_up, scaled, settings.by, spec.dtype, stage.store)
    for suffix in (tasks.SENT_SUFFIX, tasks.RETURNED_SUFFIX, COUNTS_SUFFIX):
        consume(stage.store, suffix)
    names = ", ".join(map(title_of, parts_of(spec)))
    return ScoresResult(sources.rows, spec.name, made_of=f"{SCALES.get(settings.by, settings.by)} of {names}")


def _ranks(stage: StageRun, sources: Sources, label: str, part: Store) -> tuple[str, ...]:
    """Rank the rows of the pool by a score; return the names of the objects that hold the ranks."""
    names = [f"{label}-digit-{shard.identity}" for shard in sources.shards]
    counting = [
        of_shard(task(name, parts.count_scores, shard, part, name, stage.store), shard)
        for name, shard in zip(names, sources.shards, strict=True)
    ]
    stage.map(counting, "shards")
    counts = summed_objects(stage, f"{label}-bounds", counts_of(counting), add_counts, COUNTS_SUFFIX)
    found = stage.call(f"{label}-bounds", parts.bound_buckets, counts, label, stage.store)
    stage.over_shards(f"{label}-send", "shards", sources.shards, parts.send_ranked, part, label, stage.store)
    sent = sent_names(lambda identity: tasks.SENT_NAME.format(f"{label}-{identity}"), sources.shards)
    rows = found["rows"]
    ranking = [
        task(f"{label}-rank-{at:08d}", parts.rank_bucket, at, sent, label, rows, stage.store)
        for at in range(found["buckets"])
    ]
    stage.map(ranking, "buckets")
    return tuple(tasks.RETURNED_NAME.format(f"{label}-{at:08d}") for at in range(found["buckets"]))


def _of_centred(stage: StageRun, spec: Spec, sources: Sources) -> None:
    assert isinstance(spec.settings, CentredScore)
    right_stage.score_centred(stage, sources.shards, spec.settings, sources.dimension)


def _of_neighbours(stage: StageRun, spec: Spec, sources: Sources) -> None:
    side = side_of(spec)
    assert side is not None
    (centred,) = sources.parts
    right_stage.score_neighbours(stage, sources.shards, side, sources.graphs, centred, sources.rows, sources.dimension)


def _of_right(stage: StageRun, spec: Spec, sources: Sources) -> ScoresResult:
    right, warnings = right_stage.score_right(stage, sources.shards, sources.rows, sources.parts)
    return ScoresResult(sources.rows, spec.name, right, warnings)


def _gather(stage: StageRun, sources: Sources, names: Sequence[str]) -> None:
    stage.over_shards("gather", "shards", sources.shards, tasks.gather_scores, list(names), stage.store)
    consume(stage.store, tasks.RETURNED_SUFFIX)


COMPUTE: dict[Kind, Callable[[StageRun, Spec, Sources], ScoresResult | None]] = {
    Kind.ROWS: _of_rows,
    Kind.IMAGES: _of_images,
    Kind.GRAPH: _of_graph,
    Kind.BATCHES: _of_batches,
    Kind.CAPTIONS: _of_captions,
    Kind.TOWERS: _of_towers,
    Kind.PARTS: _of_parts,
    Kind.CENTRED: _of_centred,
    Kind.NEIGHBOURS: _of_neighbours,
    Kind.RIGHT: _of_right,
}
