"""Scores of training dynamics that need the probabilities of every look: DUAL and TDDS."""

import numpy as np
import numpy.typing as npt

from benchmarks.quality.coreset.data import Int64Array

Float64Array = npt.NDArray[np.float64]

# Of TDDS's moving average over the windows: the latest window's share.
LATEST = 0.9
# Below this a probability is taken for it, so that logarithms are finite.
LEAST = 1e-8


def own_probabilities(probabilities: npt.NDArray[np.float32], labels: Int64Array) -> Float64Array:
    """Return each look's probability of the true label, float64 (looks, n), of float32 (looks, n, classes)."""
    return probabilities[:, np.arange(len(labels)), labels].astype(np.float64)


def dual_scores(own: Float64Array, window: int) -> Float64Array:
    """Return DUAL's scores, float64 (n,), higher for the difficult and uncertain.

    The DUAL score of arXiv 2502.06905: (1 - mean) * standard deviation (J - 1 in the denominator) of the true label's
    probability in each window of J looks, mean over the windows.

    Parameters
    ----------
    own : float64 (looks, n), the probability of the true label.
    window : J, at least 2 and at most the looks.
    """
    windows = np.lib.stride_tricks.sliding_window_view(own, window, axis=0)
    scores: Float64Array = np.mean((1 - windows.mean(axis=2)) * windows.std(axis=2, ddof=1), axis=0)
    return scores


def beta_parameters(rate: float, anchor: float, exponent: float, total: float) -> tuple[float, float]:
    """Return the alpha and beta of DUAL's Beta distribution of the true label's mean probability.

    Arxiv 2502.06905, pruning-ratio-adaptive sampling: beta = C * (1 - mu_D) * (1 - r^c_D), alpha = C - beta. The more
    is pruned, the easier the samples that are drawn. (The released code adds 1 to alpha.)

    Parameters
    ----------
    rate : r, the pruned share.
    anchor : mu_D, the mean probability of the samples of the highest DUAL scores.
    exponent : c_D, larger for data of which few samples suffice later.
    total : C.
    """
    beta = total * (1 - anchor) * (1 - rate**exponent)
    return total - beta, beta


def tdds_scores(probabilities: npt.NDArray[np.float32], window: int) -> Float64Array:
    """Return TDDS's scores, float64 (n,), higher for those whose change of output varies.

    Temporal Dual-Depth Scoring (arXiv 2311.13613). First depth: the Kullback-Leibler divergence of each look's output
    from the one before. Second depth: in each window of J looks the norm of these divergences less their mean, under
    an exponential moving average over the windows. (The released code sums the classes' absolute terms instead.)

    Parameters
    ----------
    probabilities : float32 (looks, n, classes).
    window : J looks, which have J - 1 divergences; at least 2 and at most the looks.
    """
    changes = _divergences(probabilities)
    windows = np.lib.stride_tricks.sliding_window_view(changes, window - 1, axis=0)
    norms = np.linalg.norm(windows - windows.mean(axis=2, keepdims=True), axis=2)
    scores: Float64Array = np.zeros(norms.shape[1])
    for norm in norms:
        scores = LATEST * norm + (1 - LATEST) * scores
    return scores


def _divergences(probabilities: npt.NDArray[np.float32]) -> Float64Array:
    """Return KL(look t + 1 | look t), float64 (looks - 1, n)."""
    floored = np.maximum(probabilities, LEAST).astype(np.float64)
    logs = np.log(floored)
    divergences: Float64Array = np.sum(floored[1:] * (logs[1:] - logs[:-1]), axis=2)
    return divergences
