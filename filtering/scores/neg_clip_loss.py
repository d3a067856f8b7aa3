"""Negative CLIP loss: the CLIP score, less how well image and caption fit the rest of a random batch."""

import numpy as np
import numpy.typing as npt

from filtering.core.clip_score import clip_scores
from filtering.core.uids import Uids, hashed

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]

# Rows compared with the whole batch at once: 64 MB of cosines for a batch of 32,768.
BLOCK_ROWS = 512


def neg_clip_losses(images: Float32Array, texts: Float32Array, temperature: float) -> Float32Array:
    """Return the negative CLIP loss of each pair of one batch (negCLIPLoss, arXiv 2405.19547).

    That is ``cos_ii - T/2 * log sum_j exp(cos_ij / T) - T/2 * log sum_j exp(cos_ji / T)``, the sums over the whole
    batch, the pair itself among it; cos_ij is that of image i and caption j, both float32 (n, d), unit-norm rows, and T
    the temperature, 0.01 in the paper, as the model was trained to. Float32 (n,), higher for a pair that fits better
    than its parts fit others; at most 0 but for rounding. Memory beside the arguments: 512 rows of cosines, and their
    exponentials.
    """
    rows, columns = np.empty(len(images)), _ColumnSums(len(texts))
    for start in range(0, len(images), BLOCK_ROWS):
        block = slice(start, start + BLOCK_ROWS)
        logits = images[block] @ texts.T
        logits /= np.float32(temperature)
        rows[block] = _row_sums(logits)
        columns.add(logits)
    scores = clip_scores(images, texts).astype(np.float64)
    return (scores - temperature / 2 * (rows + columns.logarithms())).astype(np.float32)


def batch_numbers(uids: Uids, batches: int, round_seed: int) -> npt.NDArray[np.int32]:
    """Return which random batch each uid falls into, int32 (n,) in [0, `batches`), by uid and seed alone.

    Batches are of nearly, not exactly, the same size; another seed cuts the pool independently.
    """
    return (hashed(uids, round_seed) % np.uint64(batches)).astype(np.int32)


def _row_sums(logits: Float32Array) -> Float64Array:
    peaks = logits.max(axis=1, keepdims=True)
    sums: Float64Array = _exponentials(logits, peaks).sum(axis=1, dtype=np.float64)
    return np.asarray(peaks[:, 0] + np.log(sums), dtype=np.float64)


class _ColumnSums:
    """The logarithm of each column's sum of exponentials, as blocks of rows come: sums are relative to the peak yet."""

    def __init__(self, columns: int) -> None:
        self.peaks = np.full(columns, -np.inf, dtype=np.float32)
        self.sums = np.zeros(columns)

    def add(self, logits: Float32Array) -> None:
        peaks = np.maximum(self.peaks, logits.max(axis=0))
        self.sums *= np.exp(self.peaks.astype(np.float64) - peaks)
        self.sums += _exponentials(logits, peaks).sum(axis=0, dtype=np.float64)
        self.peaks = peaks

    def logarithms(self) -> Float64Array:
        return np.asarray(self.peaks + np.log(self.sums), dtype=np.float64)


def _exponentials(logits: Float32Array, peaks: Float32Array) -> Float32Array:
    shifted: Float32Array = logits - peaks
    return np.exp(shifted, out=shifted)
