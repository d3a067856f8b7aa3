"""The budgets of all concepts, as a step's budget allots them: from sizes, or from the scores of the whole pool."""

import numpy as np
import pyarrow as pa

from filtering.concepts.artifacts import read_concepts
from filtering.config.methods import HierarchicalBudget, MinimumBudget, StrataBudget, ThresholdSettings
from filtering.config.selection import Step
from filtering.core.csr import Int64Array
from filtering.runtime.stage import StageRun
from filtering.selection.artifacts import BUDGETS_NAME
from filtering.selection.cuts import Cut, counts_above, cut_at, cut_at_score
from filtering.selection.hierarchy import hierarchical_budgets
from filtering.selection.inputs import Pool
from filtering.selection.pool_strata import pool_strata, write_strata
from filtering.selection.registry import BUDGETS
from filtering.selection.scores import read_concept_counts
from filtering.selection.tasks import read_hierarchy, write_hierarchy


def write_budgets(stage: StageRun, step: Step, pool: Pool, total: int, available: int) -> None:
    """Write how many samples each concept may keep; of strata over the pool, their own budgets too.

    Parameters
    ----------
    total : int
        Samples to keep.
    available : int
        Samples that reached the step.
    """
    name, settings, concepts = step.budget_name, step.budget_settings, surviving_concepts(stage, pool)
    sizes = concepts["size"].to_numpy()
    if not name:
        budgets = sizes
    elif isinstance(settings, StrataBudget) and settings.scope == "pool":
        hardest = int(available * settings.drop_hardest)
        write_strata(stage.store, pool_strata(stage, pool.partitions, settings.strata, hardest, total))
        budgets = sizes
    elif name in ("pool", "threshold"):
        cut = _cut(stage, step, pool, total, available)
        budgets = np.zeros_like(sizes) if cut is None else counts_above(stage, pool.partitions, len(sizes), cut)
    else:
        budgets = _allotted(stage, step, concepts, pool, total)
    stage.store.write_arrays(BUDGETS_NAME, {"budgets": budgets})


def surviving_concepts(stage: StageRun, pool: Pool) -> pa.Table:
    """Return the table of concepts with the sizes that the steps before have left."""
    table = read_concepts(pool.concepts)
    sizes = read_concept_counts(stage.store, pool.partitions, len(table))
    return table.set_column(table.column_names.index("size"), "size", pa.array(sizes))


def _allotted(stage: StageRun, step: Step, concepts: pa.Table, pool: Pool, total: int) -> Int64Array:
    """Return what a budget allots to each concept."""
    name, settings = step.budget_name, step.budget_settings
    if isinstance(settings, HierarchicalBudget):
        stage.call("hierarchy", write_hierarchy, pool.concepts, settings.levels, settings.seed, stage.store)
        return hierarchical_budgets(concepts["size"].to_numpy(), read_hierarchy(stage.store), total)
    if isinstance(settings, StrataBudget):
        # Strata inside each concept spend what the concept has in proportion to its size.
        name, settings = "proportional", MinimumBudget()
    allot = BUDGETS[name].allot
    assert allot is not None
    return allot(concepts, total, settings)


def _cut(stage: StageRun, step: Step, pool: Pool, total: int, available: int) -> Cut | None:
    """Return the cut at and above which rows of the whole pool are kept; None if no row is kept."""
    if not isinstance(step.settings, ThresholdSettings):
        return cut_at(stage, "cut", pool.partitions, total - 1) if total else None
    if step.settings.threshold is not None:
        return cut_at_score(step.settings.threshold)
    # DataComp's rule: the value at int(n * fraction), and all that equal it.
    place = int(available * step.keep) if isinstance(step.keep, float) else step.keep - 1
    return cut_at(stage, "cut", pool.partitions, min(place, available - 1), ties=True) if available else None
