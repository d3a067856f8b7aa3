"""The selection stage: budgets over all concepts, then one task a partition."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from filtering.attempts import Task
from filtering.concepts.objects import read_concepts
from filtering.concepts.partition import shard_and_row
from filtering.config import Config, Selection
from filtering.exchange import packed, runs, write_groups
from filtering.filters.objects import PassingShard
from filtering.graph.csr import Int64Array
from filtering.graph.objects import read_adjacent, read_graph
from filtering.graph.sharded import ShardGraph
from filtering.selection.concept import concept_samples
from filtering.selection.objects import BUDGETS_NAME, PICK, PICKS_NAME
from filtering.selection.registry import budget, selector
from filtering.selection.scores import SCORES_SUFFIX, SENT_NAME, SENT_SUFFIX, collect_scores, scores_of, send_scores
from filtering.stage import Runtime, Stage
from filtering.storage import Store

VERSION = 3


def selection_stage(runtime: Runtime, config: Config, graph: str, scores: str) -> Stage:
    """Return the stage."""
    settings = config.selection.model_dump(exclude={"score"})
    return Stage(runtime, "selection", VERSION, settings, (graph, scores))


def select_coreset(
    stage: Stage, config: Config, shards: Sequence[PassingShard], concepts_url: str, graph_url: str, scores_url: str
) -> dict[str, Any]:
    """Spend the budget and write each partition's picks; return how many and what was noticed."""
    settings, url = config.selection, stage.store.url
    concepts = read_concepts(Store(concepts_url))
    available = int(concepts["size"].to_numpy().sum())
    total = wanted_total(settings.keep, available)
    budgets = budget(settings.budget)(concepts, min(total, available), settings)
    stage.store.write_arrays(BUDGETS_NAME, {"budgets": budgets})
    partitions = int(concepts["partition"].to_numpy().max(initial=-1)) + 1
    tasks = [Task(f"send-{shard.identity}", (shard, concepts_url, scores_url, url)) for shard in shards]
    stage.map(lambda engine: engine.tasks(send_scores), tasks, "shards")
    names = [SENT_NAME.format(shard.identity) for shard in shards]
    tasks = [Task(f"collect-{number:08d}", (number, names, url)) for number in range(partitions)]
    stage.map(lambda engine: engine.tasks(collect_scores), tasks, "partitions collected")
    stage.store.delete_all(SENT_SUFFIX)
    adjacent = read_adjacent(Store(graph_url))
    tasks = [Task(f"{n:08d}", (n, adjacent.get(n, []), settings, graph_url, url)) for n in range(partitions)]
    counts = stage.map(lambda engine: engine.tasks(_select), tasks, "partitions")
    stage.store.delete_all(SCORES_SUFFIX)
    picked = sum(count["picks"] for count in counts)
    stage.summary = f"{picked:,} of {available:,} samples kept by {settings.method}, {settings.budget} budgets"
    return {"picks": picked, "wanted": total, "available": available}


def wanted_total(keep: float, available: int) -> int:
    """Return how many samples to keep: a fraction (a float) of those that reach selection, or a number (an int)."""
    return keep if isinstance(keep, int) else int(available * keep + 1e-9)


def _select(
    partition: int, adjacent: Sequence[int], settings: Selection, graph_url: str, store_url: str
) -> dict[str, int]:
    store, part = Store(store_url), read_graph(Store(graph_url), partition)
    if part is None:
        return {"picks": 0}
    budgets = store.read_arrays(BUDGETS_NAME)["budgets"]
    touched, places = np.unique(np.concatenate([part.row, part.indices]), return_inverse=True)
    score_of = scores_of(touched, [partition, *adjacent], store)
    own, edges = places[: len(part.row)], places[len(part.row) :]
    picks, ranks = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.int64)]
    for members in runs(part.concept):
        samples = concept_samples(part, members, score_of, edges, own)
        chosen = selector(settings.method)(samples, int(budgets[part.concept[members.start]]), settings)
        picks.append(chosen + members.start)
        ranks.append(np.arange(len(chosen)))
    _write_picks(store, partition, part, np.concatenate(picks), np.concatenate(ranks), score_of[own])
    return {"picks": sum(map(len, picks))}


def _write_picks(
    store: Store,
    partition: int,
    part: ShardGraph,
    picks: Int64Array,
    ranks: Int64Array,
    scores: npt.NDArray[np.float64],
) -> None:
    rows = part.row[picks]
    records = packed(PICK, row=rows, concept=part.concept[picks], score=scores[picks].astype(np.float32), rank=ranks)
    write_groups(store, PICKS_NAME.format(partition), shard_and_row(rows)[0], PICK, records.__getitem__)
