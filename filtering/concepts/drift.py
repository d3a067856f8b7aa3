"""Drift: how well concepts that were trained on an earlier pool fit the present one."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from filtering.concepts.artifacts import FIT, Drift
from filtering.concepts.statistics import Statistics
from filtering.config.run import Concepts
from filtering.storage.store import Store

# A concept has grown if its share of the pool is more than this many times its share at the time of training.
GROWN = 2.0
# Smaller concepts are left out: a few samples double them.
FEWEST_ROWS = 1_000
# A pool that has grown to this many times its former size has room for more concepts.
POOL_GROWN = 2.0


def drift(store: Store, new: Statistics, pool: Statistics, settings: Concepts) -> Drift:
    """Return how the pool differs from the one on which its concepts were trained, with the reasons for a refit.

    `new` are sums over the rows that are new, `pool` over all rows; the stage's objects have `FIT`. `settings.drift`
    limits how much farther from their centroids new rows may be on average.
    """
    fit = store.read_arrays(FIT)
    rows, before = int(pool.sizes.sum()), int(fit["sizes"].sum())
    found = Drift(
        new_rows=int(new.sizes.sum()),
        distance=_mean(new.distances, new.sizes),
        distance_at_fit=_mean(fit["distances"], fit["sizes"]),
        grown=grown_concepts(fit["sizes"], pool.sizes),
        rows_at_fit=before,
    )
    return replace(found, refit=tuple(_reasons(found, rows, settings.drift)))


def grown_concepts(before: npt.NDArray[np.int64], now: npt.NDArray[np.int64]) -> int:
    """Return how many concepts of at least 1,000 rows have more than twice their former share of the pool."""
    shares = before / max(int(before.sum()), 1), now / max(int(now.sum()), 1)
    return int(((now >= FEWEST_ROWS) & (shares[1] > GROWN * shares[0])).sum())


def _reasons(found: Drift, rows: int, most: float) -> list[str]:
    reasons = []
    ours, fit = found.distance, found.distance_at_fit
    if ours is not None and fit is not None and ours > fit * (1 + most):
        reasons.append(
            f"new samples lie {ours:.3f} from their centroids on average, {fit:.3f} when the concepts were trained"
        )
    if found.grown:
        many = "concepts have more than doubled their" if found.grown > 1 else "concept has more than doubled its"
        reasons.append(f"{found.grown:,} {many} share of the pool")
    if rows > POOL_GROWN * found.rows_at_fit:
        reasons.append(f"the pool has grown from {found.rows_at_fit:,} to {rows:,} samples")
    return reasons


def _mean(sums: npt.NDArray[np.float64], counts: npt.NDArray[np.int64]) -> float | None:
    total = int(counts.sum())
    return round(float(sums.sum()) / total, 6) if total else None
