"""The graph stage: search by partition, exchange of what was found, one graph a partition, statistics, recall."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from filtering.attempts import Task
from filtering.concepts.objects import GROUPED_SUFFIX, grouped_names, read_exact
from filtering.config import Config
from filtering.graph.memory import partition_memory
from filtering.graph.objects import ADJACENT
from filtering.graph.recall import recall_at_k
from filtering.graph.tasks import EDGES_SUFFIX, FOUND_SUFFIX, QUERIES_NAME, choose, components, join, search
from filtering.stage import Runtime, Stage
from filtering.storage import Store

VERSION = 4
# Components are counted in one task, 24 bytes a row: not in larger pools.
MOST_COUNTED_ROWS = 200_000_000
# Written when every partition has been searched and the grouped rows are no longer needed.
SEARCHED = "searched.json"


def graph_stage(runtime: Runtime, config: Config, partitions: str) -> Stage:
    """Return the stage."""
    return Stage(runtime, "graph", VERSION, config.graph.k, (partitions,))


def needs_grouped_rows(stage: Stage) -> bool:
    """Say whether the graph, as far as it has come, still has to read the grouped rows."""
    return not stage.store.exists(SEARCHED)


def build_graph(
    stage: Stage, config: Config, grouped_url: str, concepts_url: str, concepts: pa.Table, dimension: int
) -> dict[str, Any]:
    """Build every partition's graph and measure recall@k; return the graph's statistics.

    Parameters
    ----------
    grouped_url, concepts_url : str
        Where the grouped rows are, and the rows whose true neighbours are known.
    concepts : pa.Table
        `tables.CONCEPTS`.
    dimension : int
        Of the vectors.
    """
    url, k, gpus = stage.store.url, config.graph.k, config.ray.gpus_per_search
    device = "cuda" if gpus else "cpu"
    memory, partition_of = partition_memory(concepts, dimension, k), concepts["partition"].to_pylist()
    names = grouped_names(Store(grouped_url))
    tasks = [
        Task(f"search-{number:08d}", (number, grouped_url, names, partition_of, k, device, url), memory[number])
        for number in range(len(memory))
    ]
    found = stage.map(lambda engine: engine.tasks(search, gpus), tasks, "partitions searched")
    present = [number for number, counts in enumerate(found) if counts["rows"]]
    # What has been read for the last time goes: the grouped vectors are the largest objects of a run.
    stage.store.write_json(SEARCHED, True)
    Store(grouped_url).delete_all(GROUPED_SUFFIX)
    senders = _senders(range(len(found)), found)
    tasks = [Task(f"choose-{n:08d}", (n, senders[n], partition_of, k, concepts_url, url), memory[n]) for n in present]
    chosen = stage.map(lambda engine: engine.tasks(choose), tasks, "partitions chosen")
    stage.store.delete_all(FOUND_SUFFIX)
    senders = _senders(present, chosen)
    tasks = [Task(f"join-{n:08d}", (n, senders[n], url), memory[n]) for n in present]
    parts = stage.map(lambda engine: engine.tasks(join), tasks, "partitions joined")
    stage.store.delete_all(EDGES_SUFFIX)
    stage.store.write_json(ADJACENT, _adjacent(present, chosen, senders))
    result = _statistics(parts) | _search_cost(found)
    if present and result["nodes"] <= MOST_COUNTED_ROWS:
        result |= stage.call(components, "components", present, MOST_COUNTED_ROWS, url)
    result["recall"] = _recall(stage.store, Store(concepts_url), present)
    stage.summary = f"{result['edges'] // 2:,} edges, recall@{k} {result['recall']:.3f}"
    return result


def _senders(numbers: Sequence[int], results: Sequence[dict[str, Any]]) -> dict[int, list[int]]:
    """Return which partitions sent something to each partition."""
    senders: dict[int, list[int]] = defaultdict(list)
    for number, result in zip(numbers, results, strict=True):
        for target in result["to"]:
            senders[target].append(number)
    return senders


def _adjacent(
    present: Sequence[int], chosen: Sequence[dict[str, Any]], senders: dict[int, list[int]]
) -> dict[int, list[int]]:
    """Return the partitions that edges of each one lead to or come from."""
    return {
        number: sorted({*result["to"], *senders[number]} - {number})
        for number, result in zip(present, chosen, strict=True)
    }


def _statistics(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {name: sum(p[name] for p in parts) for name in ("nodes", "edges", "isolated", "crossing")}
    result["largest_degree"] = max((part["largest_degree"] for part in parts), default=0)
    result["mean_degree"] = round(result["edges"] / max(result["nodes"], 1), 2)
    result["crossing_share"] = round(result["crossing"] / max(result["edges"], 1), 4)
    longest = max((len(part["degrees"]) for part in parts), default=0)
    padded = [part["degrees"] + [0] * (longest - len(part["degrees"])) for part in parts]
    result["degrees_by_power_of_2"] = np.sum(padded, axis=0).astype(int).tolist() if parts else []
    result["partitions"] = len(parts)
    return result


def _search_cost(found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the distances computed, and their share of those that an exact search of the pool by itself computes."""
    rows, guests, pairs = (sum(counts[name] for counts in found) for name in ("rows", "guests", "pairs"))
    return {"guests": guests, "distances": pairs, "share_of_brute_force": round(pairs / max(rows, 1) ** 2, 6)}


def _recall(store: Store, concepts: Store, present: Sequence[int]) -> float:
    """Compare the measured rows' neighbours with those of the exact search."""
    if not present:
        return 1.0
    rows, exact = read_exact(concepts)
    queries = [store.read_arrays(QUERIES_NAME.format(number)) for number in present]
    order = np.argsort(np.concatenate([query["row"] for query in queries]))
    found = np.concatenate([query["distances"] for query in queries])[order]
    return round(recall_at_k(found, exact), 4) if len(rows) else 1.0
