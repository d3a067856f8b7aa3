"""Concepts and the kNN graph of one side of the pairs: of their images, or of their captions."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from filtering.concepts.artifacts import ConceptsResult, PartitionsResult, grouped_names
from filtering.concepts.given_stage import assign_to_given, reusable_concepts, unchanged_concepts
from filtering.concepts.grouping_stage import group_rows, partitions_key
from filtering.concepts.stage import NAME as CONCEPTS
from filtering.concepts.stage import concepts_key, find_concepts
from filtering.config.run import Config, Graph
from filtering.core.errors import RunError
from filtering.filters.artifacts import FiltersResult, PassingShard, stage_of
from filtering.graph.artifacts import GraphResult
from filtering.graph.renewal_stage import KnownGraph
from filtering.graph.stage import NAME as GRAPH
from filtering.graph.stage import build_graph, graph_key, needs_grouped_rows
from filtering.graph.tasks import GraphInputs
from filtering.pipeline.context import Neighbourhood, RunContext
from filtering.pipeline.origin import origin_of
from filtering.pipeline.unchanged import InBase
from filtering.runtime.finished_run import Reusable
from filtering.runtime.stage import Finished, StageRun
from filtering.shards.vectors import CONCEPTS as OF_CONCEPTS
from filtering.shards.vectors import Side, View


def neighbourhood(
    context: RunContext,
    filters: Finished[FiltersResult],
    passing: Sequence[PassingShard],
    reusable: Reusable | None,
    side: Side = "image",
) -> Neighbourhood:
    """Return the concepts and the graph of one side, found now unless they have been; `passing` are all shards."""
    view: View = OF_CONCEPTS if side == "image" else side
    shards, graph = [replace(shard, side=view) for shard in passing], settings_of(context.config, side)
    concepts = _concepts(context, graph, filters, shards, reusable, side)
    return Neighbourhood(concepts, _graph(context, graph, concepts, shards, reusable, side))


def settings_of(config: Config, side: Side) -> Graph:
    """Return the settings of one side's graph."""
    return config.graph if side == "image" else config.graph.of_texts()


def _concepts(
    context: RunContext,
    graph: Graph,
    filters: Finished[FiltersResult],
    shards: Sequence[PassingShard],
    reusable: Reusable | None,
    side: Side,
) -> Finished[ConceptsResult]:
    """Find concepts, or use those of the base or of the run that the configuration names."""
    settings, rows = context.config.concepts, filters.result.passed
    origin = origin_of(context.config, reusable.base if reusable else None, side)
    if origin is None:
        return context.take(
            concepts_key(settings, graph, filters.fingerprint, side),
            ConceptsResult,
            lambda stage: find_concepts(stage, settings, graph, shards, rows),
        )
    store, identity = origin
    # What differs from the base's concepts is all that is searched: with the graph goes the comparison.
    names = (stage_of(CONCEPTS, side), stage_of(GRAPH, side))
    alone = reusable is not None and not _is_whole(reusable, *names)
    known = None if alone else reusable_concepts(reusable, identity, graph, side)
    unchanged = None if known is None or reusable is None else _unchanged(reusable, names[0])

    def found(stage: StageRun) -> ConceptsResult:
        before = unchanged.result(ConceptsResult) if unchanged else None
        if unchanged is None or before is None:
            return assign_to_given(stage, settings, graph, shards, rows, store, known)
        unchanged.copy(stage)
        return unchanged_concepts(stage.store, before, store, len(shards), settings)

    key = concepts_key(settings, graph, filters.fingerprint, side, identity, alone)
    concepts = context.take(key, ConceptsResult, found)
    if unchanged is not None and concepts.result.compared:
        context.note_alike(concepts.fingerprint, unchanged.fingerprint)
    return concepts


def _is_whole(reusable: Reusable, concepts: str, graph: str) -> bool:
    """Say whether a base has concepts and a graph, of which nothing is damaged that a comparison would read."""
    lost = {name for stage, name in reusable.damaged if stage == concepts}
    # The concepts of shards of which the same rows pass are not compared, only copied.
    compared = reusable.has_whole(graph) and lost <= reusable.same
    return compared and reusable.base.has(concepts) and reusable.base.has(graph)


def _unchanged(reusable: Reusable, name: str) -> InBase | None:
    """Return the concepts of a base whose pool is that of the run; None if it is not, or something is damaged."""
    if not reusable.is_whole_pool() or any(stage == name for stage, _ in reusable.damaged):
        return None
    return InBase(reusable.base.store(name), reusable.base.fingerprint(name))


def _graph(
    context: RunContext,
    settings: Graph,
    concepts: Finished[ConceptsResult],
    shards: Sequence[PassingShard],
    reusable: Reusable | None,
    side: Side,
) -> Finished[GraphResult]:
    partitions = partitions_key(concepts.fingerprint, side)
    key, result = graph_key(settings.k, partitions.fingerprint, side), concepts.result
    inputs = partial(GraphInputs, concepts=concepts.store, dimension=result.dimension, k=settings.k)
    if result.compared:
        known = _known_graph(reusable, concepts, shards, settings, side)
        before = known.reusable.base.result(key.name, GraphResult)
        renewed = context.take(
            key, GraphResult, lambda stage: build_graph(stage, inputs(concepts.store), known, before)
        )
        _note_alike(context, concepts, renewed, side)
        return renewed
    grouping, graph = context.stage(partitions), context.stage(key)
    if not graph.finished() and needs_grouped_rows(graph) and grouping.finished() and not grouped_names(grouping.store):
        # They went when a graph had been searched; that graph is not this one.
        grouping.forget()
    grouped = context.take(
        partitions, PartitionsResult, lambda stage: group_rows(stage, settings, shards, concepts.store)
    )
    gpus = context.config.ray.gpus_per_search
    return context.take(key, GraphResult, lambda stage: build_graph(stage, inputs(grouped.store, gpus=gpus)))


def _note_alike(
    context: RunContext, concepts: Finished[ConceptsResult], graph: Finished[GraphResult], side: Side
) -> None:
    """Note that a graph is the base's, where the concepts are and it was built by the same settings."""
    if (before := context.alike.get(concepts.fingerprint)) is None or context.reusable is None:
        return
    there = graph_key(graph.result.k, partitions_key(before, side).fingerprint, side).fingerprint
    if there == context.reusable.base.fingerprint(stage_of(GRAPH, side)):
        context.note_alike(graph.fingerprint, there)


def _known_graph(
    reusable: Reusable | None,
    concepts: Finished[ConceptsResult],
    shards: Sequence[PassingShard],
    settings: Graph,
    side: Side,
) -> KnownGraph:
    """Return what the base knows of a graph; RunError if the concepts were compared with one, and there is none now."""
    if reusable is None:
        where = concepts.store.url
        raise RunError(f"{where}: was compared with a base, which is not given any more; take another output")
    return KnownGraph(reusable, reusable.base.store(stage_of(CONCEPTS, side)), shards, settings.max_replicas)
