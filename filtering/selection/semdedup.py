"""SemDeDup (Abbas et al. 2023, arXiv 2303.09540): of samples that mean the same, one stays."""

from typing import Literal

import numpy as np
import numpy.typing as npt

from filtering.config.methods import SemDedupSettings
from filtering.core.csr import Int64Array
from filtering.core.errors import InputError
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
    lowest position), j is dropped where an earlier i has cos(i, j) > 1 - epsilon; cosines are float32, which does not
    resolve an epsilon below about 1e-6. With "survivors", i must itself have been kept, so that everything dropped has
    a survivor near it; with "all" any earlier i will do, as in the released code. Beside the vectors,
    6 * block**2 + 8 * block * d + 40 * n bytes are held: never n x n. InputError if vectors are not finite, the epsilon
    is not above 0 or `matches` is unknown.
    """
    _check(vectors, epsilon, matches)
    order = _far_first(vectors, block)
    earlier, kept = np.empty(len(order), dtype=np.int64), [order[:0]]
    known = 0
    for start in range(0, len(order), block):
        rows = order[start : start + block]
        fresh = _unlike(vectors, rows, earlier[:known], 1 - epsilon, block)
        survivors = _deduplicated(vectors, rows, fresh, 1 - epsilon, matches)
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


def _unlike(vectors: Vectors, rows: Int64Array, earlier: Int64Array, limit: float, block: int) -> npt.NDArray[np.bool_]:
    """Return which rows are near none of the earlier ones, bool (rows,)."""
    left = np.arange(len(rows))
    for start in range(0, len(earlier), block):
        left = left[~_near(vectors, rows[left], earlier[start : start + block], limit).any(axis=1)]
    fresh = np.zeros(len(rows), dtype=bool)
    fresh[left] = True
    return fresh


def _deduplicated(
    vectors: Vectors, rows: Int64Array, fresh: npt.NDArray[np.bool_], limit: float, matches: Matches
) -> Int64Array:
    """Return the fresh rows without those near an earlier row, or, for survivors, near an earlier row that is kept."""
    if matches == "survivors":
        rows, fresh = rows[fresh], np.ones(int(fresh.sum()), dtype=bool)
    near = np.triu(_near(vectors, rows, rows, limit), 1)
    if matches == "all":
        return rows[fresh & ~near.any(axis=0)]
    for row in np.flatnonzero(near.any(axis=1)):
        if fresh[row]:
            fresh &= ~near[row]
    return rows[fresh]


def _near(vectors: Vectors, rows: Int64Array, others: Int64Array, limit: float) -> npt.NDArray[np.bool_]:
    near: npt.NDArray[np.bool_] = vectors[rows] @ vectors[others].T > limit
    return near


def _check(vectors: Vectors, epsilon: float, matches: str) -> None:
    check_option("matches", matches, Matches)
    with np.errstate(invalid="ignore"):
        # Finite where all terms are: a mask of the matrix would take a quarter of its memory.
        sums = vectors.sum(axis=0, dtype=np.float64)
    if vectors.ndim != 2 or not np.isfinite(sums).all():
        raise InputError("semdedup needs a matrix of finite vectors, a row for each sample")
    if not (np.isfinite(epsilon) and epsilon > 0):
        raise InputError(f"epsilon must be a positive number, got {epsilon}")
