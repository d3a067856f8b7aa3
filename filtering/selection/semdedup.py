"""SemDeDup (Abbas et al. 2023, arXiv 2303.09540): of samples that mean the same, one stays."""

from typing import Literal

import numpy as np
import numpy.typing as npt
from numba import njit

from filtering.config.methods import SemDedupSettings
from filtering.core.csr import Int64Array
from filtering.core.errors import InputError
from filtering.core.fixed_point import SQUARED_STEPS, Int16Array, from_steps, in_steps, product
from filtering.selection.concept import ConceptSamples
from filtering.selection.kernel import check_option

Vectors = npt.NDArray[np.float32]
Matches = Literal["survivors", "all"]
BLOCK = 2_048


def without_duplicates(concept: ConceptSamples, budget: int, settings: SemDedupSettings) -> Int64Array:
    """Return SemDeDup's picks in a concept, in its order: the threshold decides how many, the budget does not."""
    if concept.vectors is None:
        raise InputError("semdedup compares embeddings, but the concept came without vectors")
    return semdedup(concept.vectors, settings.epsilon, settings.matches)


def semdedup(vectors: Vectors, epsilon: float, matches: Matches = "survivors", *, block: int = BLOCK) -> Int64Array:
    """Return the samples that are kept, int64 (kept,), the farthest from the mean direction first.

    `vectors` are float32 (n, d), unit-norm. In the order of cosine distance to the mean direction (far first, ties:
    lowest position), j is dropped where an earlier i has cos(i, j) > 1 - epsilon; cosines are those of vectors in
    steps of 2^-15 (`core.fixed_point`), exact, which resolves no epsilon below about 1e-6. With "survivors", i must
    itself have been kept, so that everything dropped has a survivor near it; with "all" any earlier i will do, as in
    the released code. Beside the vectors, 6 * block**2 + 12 * block * d + (2 * d + 40) * n bytes are held: never n x n.
    InputError if vectors are not finite, the epsilon is not above 0 or `matches` is unknown.
    """
    _check(vectors, epsilon, matches)
    order, steps = _far_first(vectors, block), in_steps(vectors)
    earlier, kept = np.empty(len(order), dtype=np.int64), [order[:0]]
    known = 0
    for start in range(0, len(order), block):
        rows = order[start : start + block]
        fresh = _unlike(steps, rows, earlier[:known], 1 - epsilon, block)
        survivors = _deduplicated(steps, rows, fresh, 1 - epsilon, matches)
        kept.append(survivors)
        added = rows if matches == "all" else survivors
        earlier[known : known + len(added)] = added
        known += len(added)
    return np.concatenate(kept)


def _far_first(vectors: Vectors, block: int) -> Int64Array:
    """Return the order of cosine to the mean direction, least first."""
    # Not normalised: a positive factor changes no order. Sums, not products: the same bits at any place of a row.
    mean = vectors.sum(axis=0, dtype=np.float64)
    parts = [(vectors[start : start + block] * mean).sum(axis=1) for start in range(0, len(vectors), block)]
    return np.argsort(np.concatenate([np.zeros(0), *parts]), kind="stable")


def _unlike(
    steps: Int16Array, rows: Int64Array, earlier: Int64Array, limit: float, block: int
) -> npt.NDArray[np.bool_]:
    """Return which rows are near none of the earlier ones, bool (rows,)."""
    left = np.arange(len(rows))
    for start in range(0, len(earlier), block):
        left = left[~_near(steps, rows[left], earlier[start : start + block], limit).any(axis=1)]
    fresh = np.zeros(len(rows), dtype=bool)
    fresh[left] = True
    return fresh


def _deduplicated(
    steps: Int16Array, rows: Int64Array, fresh: npt.NDArray[np.bool_], limit: float, matches: Matches
) -> Int64Array:
    """Return the fresh rows without those near an earlier row, or, for survivors, near an earlier row that is kept."""
    if matches == "survivors":
        rows, fresh = rows[fresh], np.ones(int(fresh.sum()), dtype=bool)
    near = np.triu(_near(steps, rows, rows, limit), 1)
    if matches == "all":
        return rows[fresh & ~near.any(axis=0)]
    for row in np.flatnonzero(near.any(axis=1)):
        if fresh[row]:
            fresh &= ~near[row]
    return rows[fresh]


def _near(steps: Int16Array, rows: Int64Array, others: Int64Array, limit: float) -> npt.NDArray[np.bool_]:
    """Return which rows are nearer to which others than a limit, bool (rows, others)."""
    cosines = from_steps(steps[rows]) @ from_steps(steps[others]).T
    near = np.empty(cosines.shape, dtype=bool)
    # By how much a sum of d products of unit vectors may be off, in whatever order it is added up.
    error = (steps.shape[1] + 4) * float(np.finfo(np.float32).eps)
    _decide(cosines, steps, rows, others, limit, error, near)
    return near


@njit(cache=True)  # type: ignore[untyped-decorator]
def _decide(
    cosines: npt.NDArray[np.float32],
    steps: Int16Array,
    rows: Int64Array,
    others: Int64Array,
    limit: float,
    error: float,
    near: npt.NDArray[np.bool_],
) -> None:
    """Compare cosines with a limit; where rounding matters whole numbers decide, so that every CPU finds the same."""
    for at in range(len(rows)):
        for other in range(len(others)):
            if abs(cosines[at, other] - limit) > error:
                near[at, other] = cosines[at, other] > limit
            else:
                near[at, other] = product(steps[rows[at]], steps[others[other]]) > limit * SQUARED_STEPS


def _check(vectors: Vectors, epsilon: float, matches: str) -> None:
    check_option("matches", matches, Matches)
    with np.errstate(invalid="ignore"):
        # Finite where all terms are: a mask of the matrix would take a quarter of its memory.
        sums = vectors.sum(axis=0, dtype=np.float64)
    if vectors.ndim != 2 or not np.isfinite(sums).all():
        raise InputError("semdedup needs a matrix of finite vectors, a row for each sample")
    if not (np.isfinite(epsilon) and epsilon > 0):
        raise InputError(f"epsilon must be a positive number, got {epsilon}")
