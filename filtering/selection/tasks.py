"""What workers do to select: a partition's graph, scores and budgets in, picks out."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from filtering.concepts.artifacts import read_concept_centroids
from filtering.concepts.kmeans import centroid_hierarchy
from filtering.concepts.partition import shard_and_row
from filtering.config.methods import METHODS, D2Settings, StrataBudget
from filtering.config.selection import Step
from filtering.core.csr import Int64Array
from filtering.graph.artifacts import read_graph
from filtering.graph.sharded import ShardGraph, positions, restricted
from filtering.runtime.shuffle import Records, packed, runs, write_groups
from filtering.selection.artifacts import BUDGETS_NAME, PICK, PICKS_NAME, partition_picks
from filtering.selection.concept import ConceptSamples, concept_samples
from filtering.selection.orders import KnownOrders, Order, digest_of, read_orders, stored_budget, write_orders
from filtering.selection.pool import read_strata
from filtering.selection.registry import SELECTORS
from filtering.selection.scores import COUNTS_NAME, SCORE, SCORES_NAME, read_collected, scores_of, vectors_of
from filtering.selection.selectors import messages_of
from filtering.selection.strata import inside_strata, picks_by_stratum
from filtering.storage.store import Store

HIERARCHY_NAME = "hierarchy.npz"


class Survivors:
    """The part of a partition's graph between rows that are still there, with the scores of all it touches.

    Attributes
    ----------
    part : ShardGraph
    score_of : float64 (u,), scores of every row that the part touches.
    own, edges : int64, where each row and each edge's target stands in `score_of`.
    """

    def __init__(self, part: ShardGraph, adjacent: Sequence[int], store: Store) -> None:
        touched, places = np.unique(np.concatenate([part.row, part.indices]), return_inverse=True)
        self.score_of = scores_of(touched, adjacent, store)
        there = ~np.isnan(self.score_of)[places]
        self.own, self.edges = places[: len(part.row)], places[len(part.row) :]
        self.part = part
        if not there.all():
            rows, targets = there[: len(part.row)], there[len(part.row) :]
            sources = np.repeat(rows, np.diff(part.indptr))
            self.part = restricted(part, rows, targets)
            self.own, self.edges = self.own[rows], self.edges[targets & sources]

    def concepts(self) -> Iterator[tuple[slice, ConceptSamples]]:
        """Yield where each concept's rows are, and the concept."""
        for members in runs(self.part.concept):
            yield members, concept_samples(self.part, members, self.score_of, self.edges, self.own)


def survivors(partition: int, adjacent: Sequence[int], graph_url: str, store: Store) -> Survivors | None:
    """Return the part of a partition's graph that is still there; None if it has no rows."""
    part = read_graph(Store(graph_url), partition)
    return None if part is None else Survivors(part, [partition, *adjacent], store)


def select(
    partition: int,
    adjacent: Sequence[int],
    step: Step,
    vectors: Sequence[str],
    graph_url: str,
    heard_url: str,
    base_url: str | None,
    store_url: str,
) -> dict[str, int]:
    """Pick among a partition's rows and write the picks; return how many, and in how many concepts they were sought.

    Parameters
    ----------
    vectors : list of str
        The objects in which shards sent their vectors; empty where the method reads none.
    heard_url : str
        Where the scores after earlier rounds of messages are; the stage's own folder where there were none.
    base_url : str or None
        Where a base left the orders of its picks.
    """
    store = Store(store_url)
    found = survivors(partition, adjacent, graph_url, Store(heard_url))
    if found is None:
        return {"picks": 0, "concepts": 0, "selected": 0}
    own = read_collected(store, partition)
    # As the rows stand here, not as they came.
    own = own[positions(np.ascontiguousarray(own["row"]), found.part.row)]
    picking = _Picking(step, store, own, KnownOrders() if base_url is None else read_orders(Store(base_url), partition))
    vector = vectors_of(found.part.row, vectors, partition, store) if vectors else None
    picks, ranks = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.int64)]
    for members, samples in found.concepts():
        if vector is not None:
            samples = replace(samples, vectors=vector[members])
        chosen = picking.chosen(int(found.part.concept[members.start]), members, samples)
        picks.append(chosen + members.start)
        ranks.append(np.arange(len(chosen)))
    chosen = np.concatenate(picks)
    columns = {"row": own["row"][chosen], "concept": own["concept"][chosen], "score": own["score"][chosen]}
    records = packed(PICK, **columns, rank=np.concatenate(ranks))
    write_picks(store, partition, records)
    write_orders(store, partition, picking.orders)
    return {"picks": len(chosen), "concepts": len(picking.orders), "selected": picking.selected}


class _Picking:
    """Picks concept by concept, and takes an earlier run's order where it follows from the same samples.

    Attributes
    ----------
    orders : of the concepts so far.
    selected : how many of them were not taken from an earlier run.
    """

    def __init__(self, step: Step, store: Store, own: Records, known: KnownOrders) -> None:
        self.step, self.own, self.known = step, own, known
        self.budgets = store.read_arrays(BUDGETS_NAME)["budgets"]
        self.method, self.selector = METHODS[step.method], SELECTORS[step.method]
        self.in_strata = step.budget_settings if isinstance(step.budget_settings, StrataBudget) else None
        self.strata = read_strata(store) if self.in_strata and self.in_strata.scope == "pool" else None
        self.orders: list[Order] = []
        self.selected = 0

    def chosen(self, concept: int, members: slice, samples: ConceptSamples) -> Int64Array:
        """Return the picks of a concept, places in the order of uids, int64 (p,)."""
        if self.in_strata:
            return self._in_strata(self.in_strata, concept, members, samples)
        budget, size = int(self.budgets[concept]), len(samples.uids)
        # A method that decides how many itself may keep fewer than it may, and its order is whole all the same.
        if self.selector.prefix and self.method.budget:
            most = stored_budget(budget, size)
            return self._order(concept, samples, partial(self._pick, samples, most), budget)[:budget]
        # What is picked follows from the budget, too, and is taken as a whole.
        return self._order(concept, samples, partial(self._pick, samples, budget), extra=(np.array([budget]),))

    def _pick(self, samples: ConceptSamples, budget: int) -> Int64Array:
        return self.selector.pick(samples, budget, self.step.settings)

    def _in_strata(self, settings: StrataBudget, concept: int, members: slice, samples: ConceptSamples) -> Int64Array:
        hardness = self.own["difficulty"][members]
        if self.strata is None:
            budget = int(self.budgets[concept])
            extra = (hardness, np.array([budget]))
            picks = partial(inside_strata, samples, hardness, budget, settings, self._pick)
        else:
            numbers, budgets = self.strata.numbers(self.own["row"][members], hardness), self.strata.budgets_of(concept)
            extra = (numbers, budgets)
            picks = partial(picks_by_stratum, samples, numbers, budgets, self._pick)
        return self._order(concept, samples, picks, extra=extra)

    def _order(
        self,
        concept: int,
        samples: ConceptSamples,
        picks: Callable[[], Int64Array],
        least: int = 0,
        extra: Sequence[npt.NDArray[Any]] = (),
    ) -> Int64Array:
        """Return the order of a concept: an earlier run's if it reaches as far as it must, else what is picked."""
        digest = digest_of(samples, self.step, extra)
        found = self.known.picks(concept, digest, least, len(samples.uids))
        self.selected += found is None
        order = picks() if found is None else found
        self.orders.append(Order(concept, digest, order))
        return order


def write_picks(store: Store, partition: int, picks: Records) -> None:
    """Write a partition's picks, PICK (n,), grouped by shard."""
    shards = shard_and_row(np.ascontiguousarray(picks["row"]))[0]
    write_groups(store, PICKS_NAME.format(partition), shards, PICK, picks.__getitem__)


def pass_messages(
    partition: int, adjacent: Sequence[int], settings: D2Settings, graph_url: str, source_url: str, store_url: str
) -> dict[str, int]:
    """Replace a partition's scores by those after one round of forward messages, in a folder of their own."""
    store = Store(store_url)
    found = survivors(partition, adjacent, graph_url, Store(source_url))
    records = np.zeros(0, SCORE)
    if found is not None:
        messages = [np.zeros(0)] + [messages_of(samples, settings) for _, samples in found.concepts()]
        part = found.part
        score = np.concatenate(messages).astype(np.float32)
        records = packed(SCORE, row=part.row, concept=part.concept, score=score, difficulty=score)
    store.write_arrays(SCORES_NAME.format(partition), {"scores": records})
    return {"rows": len(records)}


def write_hierarchy(concepts_url: str, levels: int, seed: int, store_url: str) -> dict[str, int]:
    """Write a k-means hierarchy over the concepts' centroids: each node's parent on the level above."""
    parents = centroid_hierarchy(read_concept_centroids(Store(concepts_url)), levels, seed)
    arrays = {f"{level:02d}": array for level, array in enumerate(parents)}
    Store(store_url).write_arrays(HIERARCHY_NAME, arrays)
    return {"nodes": sum(len(array) for array in parents)}


def read_hierarchy(store: Store) -> list[Int64Array]:
    """Return what `write_hierarchy` wrote, the level above the concepts first."""
    arrays = store.read_arrays(HIERARCHY_NAME)
    return [arrays[level] for level in sorted(arrays)]


def combine(partition: int, rule: str, urls: Sequence[str], store_url: str) -> dict[str, int]:
    """Write the rows of a partition that are among the picks of all steps, or of any; the first step's come first."""
    parts = [partition_picks(Store(url), partition) for url in urls]
    every = np.concatenate(parts)
    part_of = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    # Ordered by row and then by the step's place: the first of equal rows is the earliest step's.
    order = np.lexsort((part_of, every["row"]))
    every, part_of = every[order], part_of[order]
    _, first, times = np.unique(every["row"], return_index=True, return_counts=True)
    chosen = first[times == len(urls)] if rule == "all" else first
    picks, part_of = every[chosen], part_of[chosen]
    order = np.lexsort((picks["row"], picks["rank"], part_of, picks["concept"]))
    picks = picks[order]
    for members in runs(np.ascontiguousarray(picks["concept"])):
        picks["rank"][members] = np.arange(members.stop - members.start)
    store = Store(store_url)
    concept, count = np.unique(picks["concept"], return_counts=True)
    store.write_arrays(COUNTS_NAME.format(partition), {"concept": concept, "count": count})
    write_picks(store, partition, picks)
    return {"picks": len(picks)}
