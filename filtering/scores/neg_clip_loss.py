"""Negative CLIP loss: the CLIP score, less how well image and caption fit the rest of a random batch."""

import numpy as np
import numpy.typing as npt
from numba import njit

from filtering.core.fixed_point import SQUARED_STEPS, in_steps
from filtering.core.portable_math import exp, log, logs
from filtering.core.step_products import Int32Array, aligned, step_products
from filtering.core.uids import Uids, hashed

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]

# Rows compared with the whole batch at once: 64 MB of products for a batch of 32,768.
BLOCK_ROWS = 512


def neg_clip_losses(images: Float32Array, texts: Float32Array, temperature: float) -> Float32Array:
    """Return the negative CLIP loss of each pair of one batch (negCLIPLoss, arXiv 2405.19547).

    That is ``cos_ii - T/2 * log sum_j exp(cos_ij / T) - T/2 * log sum_j exp(cos_ji / T)``, the sums over the whole
    batch, the pair itself among it; cos_ij is that of image i and caption j, both float32 (n, d), unit-norm rows, and T
    the temperature, 0.01 in the paper, as the model was trained to. Float32 (n,), higher for a pair that fits better
    than its parts fit others; at most 0 but for rounding. Memory beside the arguments: images and captions in steps,
    and 512 rows of products.

    Vectors are rounded to steps of 2^-15 (`core.fixed_point`), so that products add up whole numbers, and every CPU
    finds the same losses.
    """
    ours, theirs = aligned(in_steps(images)), aligned(in_steps(texts))
    scale, own = 1 / (temperature * SQUARED_STEPS), np.empty(len(images))
    rows, columns = np.empty(len(images)), np.zeros(len(texts))
    peaks, buffer = np.full(len(texts), -np.inf), np.empty(len(texts))
    for start in range(0, len(images), BLOCK_ROWS):
        block = slice(start, start + BLOCK_ROWS)
        products = np.empty((len(ours[block]), len(theirs)), dtype=np.int32)
        step_products(ours[block], theirs, 0, products)
        own[block] = products[np.arange(len(products)), np.arange(start, start + len(products))]
        _add_rows(products, scale, buffer, rows[block])
        _add_columns(products, scale, peaks, columns)
    backward = peaks * scale + logs(columns)
    return (own / SQUARED_STEPS - temperature / 2 * (rows + backward)).astype(np.float32)


def batch_numbers(uids: Uids, batches: int, round_seed: int) -> npt.NDArray[np.int32]:
    """Return which random batch each uid falls into, int32 (n,) in [0, `batches`), by uid and seed alone.

    Batches are of nearly, not exactly, the same size; another seed cuts the pool independently.
    """
    return (hashed(uids, round_seed) % np.uint64(batches)).astype(np.int32)


@njit(cache=True)  # type: ignore[untyped-decorator]
def _add_rows(products: Int32Array, scale: float, buffer: Float64Array, found: Float64Array) -> None:
    """Write the logarithm of each row's sum of exponentials, taken relative to the row's largest product."""
    for row in range(len(products)):
        peak, total = products[row].max(), 0.0
        for column in range(products.shape[1]):
            buffer[column] = exp((products[row, column] - peak) * scale)
        for column in range(products.shape[1]):
            total += buffer[column]
        found[row] = peak * scale + log(total)


@njit(cache=True)  # type: ignore[untyped-decorator]
def _add_columns(products: Int32Array, scale: float, peaks: Float64Array, sums: Float64Array) -> None:
    """Add a block of rows to each column's sum of exponentials, which is relative to the largest product so far."""
    before = peaks.copy()
    for row in range(len(products)):
        for column in range(products.shape[1]):
            peaks[column] = max(peaks[column], products[row, column])
    for column in range(products.shape[1]):
        sums[column] *= exp((before[column] - peaks[column]) * scale)
    for row in range(len(products)):
        for column in range(products.shape[1]):
            sums[column] += exp((products[row, column] - peaks[column]) * scale)
