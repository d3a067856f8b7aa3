"""Selecting with the orders of an earlier run in hand: the picks are those of a run without them."""

import uuid

import numpy as np
import pytest

from filtering.config import methods
from filtering.config.selection import Step
from filtering.embedding.artifacts import unit_rows
from filtering.graph.artifacts import GRAPH_NAME
from filtering.graph.knn import knn_graph
from filtering.runtime.shuffle import packed, write_groups
from filtering.selection.artifacts import BUDGETS_NAME, partition_picks
from filtering.selection.registry import SELECTORS
from filtering.selection.scores import SCORE, SCORES_NAME, VECTORS_NAME, vector_dtype
from filtering.selection.tasks import Sources, select
from filtering.storage.store import Store

ROWS, CONCEPTS = 90, 3


@pytest.fixture
def root():
    return Store(f"memory://{uuid.uuid4().hex}")


class Pool:
    """One partition of three concepts, and what selecting reads of it."""

    def __init__(self, root):
        random = np.random.default_rng(0)
        self.root = root
        self.concept = np.repeat(np.arange(CONCEPTS), ROWS // CONCEPTS).astype(np.int32)
        self.vectors = random.normal(size=(ROWS, 4)).astype(np.float16)
        # Duplicates, for the method that looks for them.
        self.vectors[1::10] = self.vectors[::10]
        graph = knn_graph(unit_rows(self.vectors), 4)
        uids = np.array([f"{row:032x}" for row in range(ROWS)], dtype="S32")
        arrays = {"row": np.arange(ROWS), "uid": uids, "concept": self.concept}
        arrays |= {name: getattr(graph, name) for name in ("indptr", "indices", "distances")}
        root.child("graph").write_arrays(GRAPH_NAME.format(0), arrays)
        self.scores = random.random(ROWS).astype(np.float32)

    def select(self, name, step, budgets, there=slice(None), base=None):
        """Select among the rows that are there; return the task's counts and the picks."""
        store, own = self.root.child(name), np.arange(ROWS)[there]
        # As they come from the shards: in any order.
        own = np.random.default_rng(1).permutation(own)
        columns = {"row": own, "concept": self.concept[own], "score": self.scores[own]}
        store.write_arrays(SCORES_NAME.format(0), {"scores": packed(SCORE, **columns, second=self.scores[own])})
        store.write_arrays(BUDGETS_NAME, {"budgets": np.array(budgets)})
        records = packed(vector_dtype(4), row=own, vector=self.vectors[own])
        write_groups(store, VECTORS_NAME.format("a"), np.zeros(len(own), int), records.dtype, records.__getitem__)
        vectors = [VECTORS_NAME.format("a")] if SELECTORS[step.method].vectors else []
        before = None if base is None else self.root.child(base)
        sources = Sources(self.root.child("graph"), store, before, tuple(vectors))
        counts = select(0, [], step, sources, store)
        return counts, partition_picks(store, 0).tolist()


METHODS = [
    *sorted(SELECTORS),
    {"method": "ccs", "scope": "concept", "strata": 5},
    {"method": "d2", "variant": "paper"},
    {"method": "d2", "messages": "mean", "scale": "median"},
]


def step_of(method):
    # Strata over the pool need what the pool's passes leave; d2 cut into them is judged elsewhere.
    known = {"ccs": {"scope": "concept"}}
    return Step(**({"method": method} | known.get(method, {}) if isinstance(method, str) else method))


def budgets_of(step, budgets):
    """Where a method itself decides how many, the budget is what there is."""
    return [ROWS // CONCEPTS] * CONCEPTS if methods.METHODS[step.method].budget == "" else budgets


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_of_concepts_that_are_the_same_nothing_is_selected_again(root, method):
    pool, step = Pool(root), step_of(method)
    budgets = budgets_of(step, [10, 0, 30])
    first, picks = pool.select("first", step, budgets)
    assert (first["concepts"], first["selected"]) == (CONCEPTS, CONCEPTS)
    second, again = pool.select("second", step, budgets, base="first")
    assert (second["concepts"], second["selected"]) == (CONCEPTS, 0)
    assert again == picks
    # What was taken over can be taken over from there.
    third, again = pool.select("third", step, budgets, base="second")
    assert (third["selected"], again) == (0, picks)


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_a_concept_whose_scores_changed_is_selected_again_and_every_pick_is_as_without_a_base(root, method):
    pool, step = Pool(root), step_of(method)
    budgets = budgets_of(step, [10, 12, 8])
    pool.select("first", step, budgets)
    # Still probabilities, for the methods that want them.
    pool.scores[45:50] = 1 - pool.scores[45:50]
    expected = pool.select("whole", step, budgets)[1]
    counts, picks = pool.select("second", step, budgets, base="first")
    assert picks == expected
    # The rows of other concepts see it, where an edge crosses.
    assert 1 <= counts["selected"] <= CONCEPTS


@pytest.mark.parametrize("method", METHODS, ids=str)
@pytest.mark.parametrize("budgets", [[9, 11, 0], [13, 13, 26], [30, 30, 30]])
def test_other_budgets_take_other_prefixes(root, method, budgets):
    pool, step = Pool(root), step_of(method)
    pool.select("first", step, budgets_of(step, [10, 12, 8]))
    expected = pool.select("whole", step, budgets_of(step, budgets))[1]
    counts, picks = pool.select("second", step, budgets_of(step, budgets), base="first")
    assert picks == expected
    if methods.METHODS[step.method].budget == "":
        assert counts["selected"] == 0
    elif SELECTORS[step.method].prefix and step.method != "ccs":
        # An order goes on for 16 more than was kept.
        assert counts["selected"] == sum(now > before + 16 for before, now in zip([10, 12, 8], budgets, strict=True))


def test_a_partition_in_which_the_step_before_left_nothing_leaves_no_order(root):
    pool, step = Pool(root), Step(method="top")
    assert pool.select("first", step, [0, 0, 0], slice(0))[0] == {"picks": 0, "concepts": 0, "selected": 0}
    expected = pool.select("whole", step, [4, 5, 6])[1]
    counts, picks = pool.select("second", step, [4, 5, 6], base="first")
    assert (counts["selected"], picks) == (CONCEPTS, expected)
    assert pool.select("third", step, [0, 0, 0], slice(0), base="second")[0]["picks"] == 0
