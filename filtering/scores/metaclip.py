"""MetaCLIP's balancing: captions are matched with entries, and the entries that many match are flattened."""

from typing import Any

import numpy as np
import numpy.typing as npt

from filtering.core.uids import Uids, hashed
from filtering.filters.phrases import Int32Array, Int64Array

# The score of a caption that matches no entry: kept after all others.
UNMATCHED = np.finfo(np.float32).min
ENTRY_STEP = np.uint64(0x9E3779B97F4A7C15)


def metaclip_keys(
    uids: Uids, rows: Int64Array, entries: Int32Array, counts: npt.NDArray[np.integer[Any]], seed: int
) -> npt.NDArray[np.float32]:
    """Return scores whose order balances the pool as MetaCLIP does (arXiv 2309.16671).

    MetaCLIP keeps a pair if any entry e that it matches keeps it, and entry e, matched by c_e pairs, keeps each of them
    with probability min(1, t / c_e): the tail of rare entries stays whole, the head is cut to t pairs an entry. Here
    every pair i draws, for each of its entries, a number u_ie, uniform in (0, 1), and its score is the largest
    -u_ie * c_e. Whatever t is, the score is at least -t exactly when u_ie <= t / c_e for any e, which one entry fulfils
    with probability min(1, t / c_e), independently of the others: all scores from -t on are MetaCLIP's choice for t.
    So the M highest scores are a choice of exactly M pairs, for the t that makes M; a smaller choice is inside a larger
    one, and t need not be known.

    `rows`, int64 (m,), and `entries`, int32 (m,), say which rows match which entries, as `Entries.matches`, in any
    order; `counts` is how many pairs of the pool match each entry. Uids and seed alone decide what is drawn. Float32
    (n,), higher for a pair to be kept sooner; the lowest finite number for a pair that matches no entry.
    """
    ranks = np.full(len(uids), np.inf)
    np.minimum.at(ranks, rows, _draws(uids, rows, entries, seed) * counts[entries])
    return np.where(np.isinf(ranks), UNMATCHED, -ranks).astype(np.float32)


def _draws(uids: Uids, rows: Int64Array, entries: Int32Array, seed: int) -> npt.NDArray[np.float64]:
    """Return numbers in (0, 1), float64 (m,), that uid, entry and seed alone decide."""
    with np.errstate(over="ignore"):
        bits = _mixed(hashed(uids, seed)[rows] + (entries.astype(np.uint64) + np.uint64(1)) * ENTRY_STEP)
    # 52 bits and a half: neither 0 nor 1 can come out.
    return ((bits >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52


def _mixed(bits: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Scramble 64-bit values (murmur3's finaliser): the draws of one uid for its entries must be independent."""
    bits = (bits ^ (bits >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
    bits = (bits ^ (bits >> np.uint64(33))) * np.uint64(0xC4CEB9FE1A85EC53)
    return bits ^ (bits >> np.uint64(33))
