"""The graph stage: search by partition, exchange of what was found, one graph a partition, statistics, recall."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from filtering.concepts.artifacts import (
    GROUPED_SUFFIX,
    grouped_names,
    read_concepts,
    read_exact,
    replica_counts,
)
from filtering.concepts.exact_search import recall_at_k
from filtering.filters.artifacts import stage_of
from filtering.graph.artifacts import (
    ADJACENT,
    GRAPHS,
    QUERIES_NAME,
    GraphResult,
    read_part_object,
)
from filtering.graph.component_stage import count_components
from filtering.graph.memory import partition_memory
from filtering.graph.renewal_stage import PARTS, Adjacent, KnownGraph, Parts, renew_graph
from filtering.graph.sharded import PartStatistics, positions
from filtering.graph.tasks import (
    EDGES_SUFFIX,
    FOUND_SUFFIX,
    Chosen,
    ComponentCounts,
    GraphInputs,
    SearchCounts,
    SentTo,
    adjacent_partitions,
    choose,
    components,
    join,
    search,
)
from filtering.runtime.stage import StageKey, StageRun
from filtering.runtime.stage_objects import consume
from filtering.runtime.task_spec import TaskWorkers, task
from filtering.shards.vectors import Side
from filtering.storage.store import Store

NAME = GRAPHS[0]
VERSION = 6
# Components are counted in one task, 24 bytes a row, filtered ones included; those of larger pools by partitions.
MOST_COUNTED_ROWS = 20_000_000
# Written when every partition has been searched and the grouped rows are no longer needed.
SEARCHED = "searched.json"


def graph_key(k: int, partitions: str, side: Side) -> StageKey:
    """Return the stage's identity; `partitions` is the fingerprint of the side's partitions stage."""
    return StageKey(stage_of(NAME, side), VERSION, k, (partitions,))


def needs_grouped_rows(stage: StageRun) -> bool:
    """Say whether the graph, as far as it has come, still has to read the grouped rows."""
    return not stage.store.exists(SEARCHED)


def build_graph(
    stage: StageRun, inputs: GraphInputs, base: KnownGraph | None = None, before: GraphResult | None = None
) -> GraphResult:
    """Build every partition's graph, or renew that of a base, and measure recall@k; return the graph's statistics.

    `before` are those of the base: components are not counted again where the graph is the same.
    """
    concepts = read_concepts(inputs.concepts)
    memory = partition_memory(concepts, inputs.dimension, inputs.k)
    renewed = None if base is None else renew_graph(stage, inputs, base, memory)
    if renewed is None:
        parts, adjacent, found = _built(_Work(stage, inputs, memory, concepts["partition"].to_pylist()))
        distances = sum(counts["pairs"] for counts in found)
    else:
        parts, adjacent, distances = renewed.parts, renewed.adjacent, renewed.distances
    stage.store.write_record(PARTS, parts)
    stage.store.write_record(ADJACENT, {str(number): others for number, others in adjacent.items()})
    result = _statistics([part for part in parts.values() if part["nodes"]], distances, concepts, inputs.k)
    present = [int(number) for number, part in parts.items() if part["nodes"]]
    reused = sum(part["carried"] for part in parts.values())
    if before is not None and reused == len(parts):
        result = replace(result, components=before.components, largest_component=before.largest_component)
    elif present:
        result = replace(result, **_components(stage, present, result.nodes))
    if renewed is not None:
        result = replace(result, searched_concepts=renewed.concepts, reused_partitions=reused)
    return replace(result, recall=_recall(stage.store, inputs, present))


@dataclass(frozen=True, slots=True)
class _Work:
    """What every step of building reads: `memory` of each partition's tasks, `partition_of` each concept."""

    stage: StageRun
    inputs: GraphInputs
    memory: list[int]
    partition_of: list[int]

    def search(self, numbers: Sequence[int]) -> list[SearchCounts]:
        """Search partitions; the grouped rows are deleted when they have been read for the last time."""
        inputs, store = self.inputs, self.stage.store
        common = (grouped_names(inputs.grouped), self.partition_of, inputs, store)
        tasks = [task(f"search-{n:08d}", search, n, *common).reserving(self.memory[n]) for n in numbers]
        found = self.stage.map(tasks, "partitions searched", TaskWorkers(inputs.gpus))
        # The grouped vectors are the largest objects of a run.
        store.write_record(SEARCHED, {})
        consume(inputs.grouped, GROUPED_SUFFIX)
        return found

    def choose(self, numbers: Sequence[int], senders: dict[int, list[int]]) -> list[Chosen]:
        """Let rows choose among what was found for them."""
        common = (self.partition_of, self.inputs.k, self.stage.store)
        tasks = [task(f"choose-{n:08d}", choose, n, senders[n], *common).reserving(self.memory[n]) for n in numbers]
        chosen = self.stage.map(tasks, "partitions chosen")
        consume(self.stage.store, FOUND_SUFFIX)
        return chosen

    def join(self, numbers: Sequence[int], senders: dict[int, list[int]]) -> list[PartStatistics]:
        """Join edges to the partitions' parts."""
        common = (self.inputs, self.stage.store)
        tasks = [task(f"join-{n:08d}", join, n, senders[n], *common).reserving(self.memory[n]) for n in numbers]
        parts = self.stage.map(tasks, "partitions joined")
        consume(self.stage.store, EDGES_SUFFIX)
        return parts


def _components(stage: StageRun, present: Sequence[int], rows: int) -> ComponentCounts:
    found = ComponentCounts()
    if rows <= MOST_COUNTED_ROWS:
        found = stage.call("components", components, present, MOST_COUNTED_ROWS, stage.store)
    return found or count_components(stage, present, rows)


def _built(work: _Work) -> tuple[Parts, Adjacent, list[SearchCounts]]:
    """Build the whole graph; return the parts' statistics, which partitions are adjacent, and the search's counts."""
    found = work.search(range(len(work.memory)))
    present = [number for number, counts in enumerate(found) if counts["rows"]]
    chosen = work.choose(present, _senders(range(len(found)), found))
    senders = _senders(present, chosen)
    joined = work.join(present, senders)
    parts = {f"{number}": part for number, part in zip(present, joined, strict=True)}
    return parts, adjacent_partitions({}, dict(zip(present, chosen, strict=True))), found


def _senders(numbers: Sequence[int], results: Sequence[SentTo]) -> dict[int, list[int]]:
    """Return which partitions sent something to each partition."""
    senders: dict[int, list[int]] = defaultdict(list)
    for number, result in zip(numbers, results, strict=True):
        for target in result["to"]:
            senders[target].append(number)
    return senders


def _statistics(parts: Sequence[PartStatistics], distances: int, concepts: pa.Table, k: int) -> GraphResult:
    nodes, edges, isolated, crossing = (
        sum(part[name] for part in parts) for name in ("nodes", "edges", "isolated", "crossing")
    )
    longest = max((len(part["degrees"]) for part in parts), default=0)
    padded = [part["degrees"] + [0] * (longest - len(part["degrees"])) for part in parts]
    return GraphResult(
        nodes=nodes,
        edges=edges,
        isolated=isolated,
        crossing=crossing,
        largest_degree=max((part["largest_degree"] for part in parts), default=0),
        mean_degree=round(edges / max(nodes, 1), 2),
        crossing_share=round(crossing / max(edges, 1), 4),
        degrees_by_power_of_2=np.sum(padded, axis=0).astype(int).tolist() if parts else [],
        partitions=len(parts),
        replicas=int(replica_counts(concepts).sum()),
        distances=distances,
        share_of_brute_force=round(distances / max(nodes, 1) ** 2, 6),
        k=k,
    )


def _recall(store: Store, inputs: GraphInputs, present: Sequence[int]) -> float:
    """Compare the measured rows' neighbours with those of the exact search."""
    rows, exact = read_exact(inputs.concepts, inputs.k)
    objects = [read_part_object(store, QUERIES_NAME, number) for number in present]
    queries = [query for query in objects if query is not None and len(query["row"])]
    if not queries or not len(rows):
        return 1.0
    row = np.concatenate([query["row"] for query in queries])
    found = np.concatenate([query["distances"] for query in queries])
    # A reused part has some rows that measure recall no more.
    places = positions(row, rows)
    there = places >= 0
    return round(recall_at_k(found[places[there]], exact[there]), 4)
