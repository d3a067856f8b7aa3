"""The formulas of DUAL, TDDS, ZCore, InfoMax and SES against loops."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.quality.coreset.anchors import dual, infomax, ses, tdds
from benchmarks.quality.coreset.dynamics import beta_parameters, dual_scores, own_probabilities, tdds_scores
from benchmarks.quality.coreset.entropy import (
    Edges,
    blue_noise,
    communities_of,
    merging_gains,
    structural_entropies,
    weights_of,
)
from benchmarks.quality.coreset.infomax import most_information
from benchmarks.quality.coreset.knobs import Knobs
from benchmarks.quality.coreset.pool import Pool
from benchmarks.quality.coreset.scoring import Scores
from benchmarks.quality.coreset.zcore import gains, zcore_scores
from filtering.core.csr import cosines
from filtering.embedding.artifacts import unit_rows
from filtering.graph.knn import knn_graph

SEEDS = st.integers(0, 2**32 - 1)
CLASSES, SIZE = 3, 24
few = settings(max_examples=20, deadline=None)


def probabilities_of(seed, looks=6):
    logits = np.random.default_rng(seed).normal(scale=2, size=(looks, SIZE, CLASSES))
    powers = np.exp(logits)
    return (powers / powers.sum(axis=2, keepdims=True)).astype(np.float32)


def labels_of(seed):
    return np.random.default_rng(seed).integers(0, CLASSES, SIZE)


def graph_of(seed, k=3):
    return knn_graph(unit_rows(np.random.default_rng(seed).normal(size=(SIZE, 4)).astype(np.float32)), k)


def pool_of(seed, folder):
    random, probabilities, labels = np.random.default_rng(seed), probabilities_of(seed), labels_of(seed)
    aum = random.uniform(-1, 1, SIZE).astype(np.float32)
    el2n, features = random.uniform(size=SIZE).astype(np.float32), random.normal(size=(SIZE, 4)).astype(np.float32)
    return Pool(Scores(el2n, el2n, aum, features, probabilities), labels, folder)


def neighbours(graph, row):
    ends = slice(graph.indptr[row], graph.indptr[row + 1])
    return list(zip(graph.indices[ends].tolist(), graph.distances[ends].tolist(), strict=True))


@few
@given(SEEDS, st.integers(2, 6))
def test_dual_is_the_mean_of_each_windows_difficulty_times_uncertainty(seed, window):
    probabilities, labels = probabilities_of(seed), labels_of(seed)
    own = own_probabilities(probabilities, labels)
    expected = []
    for sample, label in enumerate(labels):
        terms = []
        for start in range(6 - window + 1):
            seen = [float(probabilities[start + step, sample, label]) for step in range(window)]
            mean = sum(seen) / window
            uncertainty = math.sqrt(sum((one - mean) ** 2 for one in seen) / (window - 1))
            terms.append((1 - mean) * uncertainty)
        expected.append(sum(terms) / len(terms))
    assert dual_scores(own, window) == pytest.approx(expected)


def test_the_beta_distribution_of_dual_moves_to_the_easy_as_more_is_pruned():
    assert beta_parameters(0.5, 0.4, 2, 15) == pytest.approx((15 - 15 * 0.6 * 0.75, 15 * 0.6 * 0.75))
    means = []
    for rate in (0.3, 0.5, 0.7, 0.9):
        alpha, beta = beta_parameters(rate, 0.3, 5.5, 15)
        assert alpha + beta == pytest.approx(15)
        means.append(alpha / 15)
    assert means == sorted(means)


def test_dual_draws_by_score_times_density(tmp_path):
    pool, knobs, draws = pool_of(3, tmp_path), Knobs(looks=6, window=3, exponent=2), 2_000
    own = own_probabilities(pool.scores.probabilities, pool.labels)
    scores, means = dual_scores(own, 3), own.mean(axis=0)
    anchor = np.mean([means[row] for row in sorted(range(SIZE), key=lambda row: -scores[row])[:10]])
    alpha, beta = beta_parameters(1 - 1 / SIZE, anchor, 2, 15)
    weights = scores * means ** (alpha - 1) * (1 - means) ** (beta - 1)
    seen = np.bincount([dual(pool, 1, knobs, seed)[0] for seed in range(draws)], minlength=SIZE) / draws
    assert seen == pytest.approx(weights / weights.sum(), abs=4 * math.sqrt(0.25 / draws))
    rows = dual(pool, 10, knobs, 5)
    assert len(set(rows)) == 10
    assert rows.tolist() == dual(pool, 10, knobs, 5).tolist()


@few
@given(SEEDS, st.integers(2, 6))
def test_tdds_is_the_moving_average_of_how_divergences_vary(seed, window):
    probabilities = probabilities_of(seed)
    expected = []
    for sample in range(SIZE):
        changes = []
        for before, after in itertools.pairwise(probabilities[:, sample].astype(np.float64)):
            changes.append(sum(q * math.log(q / p) for p, q in zip(before, after, strict=True)))
        score = 0.0
        for start in range(6 - window + 1):
            seen = changes[start : start + window - 1]
            mean = sum(seen) / len(seen)
            score = 0.9 * math.sqrt(sum((one - mean) ** 2 for one in seen)) + 0.1 * score
        expected.append(score)
    assert tdds_scores(probabilities, window) == pytest.approx(expected, abs=1e-6)


def test_tdds_of_certain_wrong_outputs_is_finite(tmp_path):
    probabilities = np.zeros((4, SIZE, CLASSES), dtype=np.float32)
    probabilities[::2, :, 0], probabilities[1::2, :, 1] = 1, 1
    assert np.isfinite(tdds_scores(probabilities, 3)).all()
    pool = pool_of(1, tmp_path)
    best = tdds(pool, 5, Knobs(looks=6, window=3), 0)
    assert set(best) == set(np.argsort(-tdds_scores(pool.scores.probabilities, 3))[:5])


@few
@given(SEEDS, st.integers(1, 23))
def test_zcore_rewards_what_is_nearest_and_takes_from_its_neighbours(seed, count):
    random = np.random.default_rng(seed)
    plane, points = random.normal(size=(SIZE, 2)).astype(np.float32), random.normal(size=(7, 2)).astype(np.float32)
    expected = np.zeros(SIZE)
    for point in points:
        nearest = int(np.argmin(np.abs(plane - point).sum(axis=1)))
        expected[nearest] += 1
        away = {row: float(np.abs(plane[row] - plane[nearest]).sum()) for row in range(SIZE) if row != nearest}
        close = sorted(away, key=lambda row: away[row])[:count]
        total = sum(away[row] ** -4 for row in close)
        for row in close:
            expected[row] -= away[row] ** -4 / total
    assert gains(plane, points, count) == pytest.approx(expected, abs=1e-4)


def test_zcore_takes_everything_from_a_copy():
    plane = np.array([[0, 0], [0, 0], [1, 0], [3, 3]], dtype=np.float32)
    assert gains(plane, np.zeros((1, 2), dtype=np.float32), 3).tolist() == [1, -1, 0, 0]


def test_zcore_starts_from_uniform_numbers_and_only_moves_them():
    features = np.random.default_rng(0).normal(size=(SIZE, 5)).astype(np.float32)
    features[:, 2] = 0
    scores = zcore_scores(features, 40, 6, 7)
    assert scores.mean() == pytest.approx(np.random.default_rng(7).uniform(size=SIZE).mean())
    assert scores.tolist() == zcore_scores(features, 40, 6, 7).tolist() != zcore_scores(features, 40, 6, 8).tolist()


@few
@given(SEEDS, st.integers(0, SIZE), st.sampled_from([0.0, 0.1, 1.0]))
def test_infomax_picks_what_adds_most_to_its_objective(seed, budget, alpha):
    graph, information = graph_of(seed), np.random.default_rng(seed).uniform(size=SIZE)
    similar = np.zeros((SIZE, SIZE))
    for row in range(SIZE):
        for other, distance in neighbours(graph, row):
            similar[row, other] = 1 - distance / 2

    def objective(rows):
        return information[rows].sum() - alpha * similar[np.ix_(rows, rows)].sum()

    picks = []
    for _ in range(budget):
        left = [row for row in range(SIZE) if row not in picks]
        picks.append(max(left, key=lambda row: round(objective([*picks, row]), 9)))
    found = most_information(information, graph, alpha, budget)
    assert found.tolist() == picks


@few
@given(SEEDS)
def test_a_nodes_structural_entropy_sums_its_edges_ancestors(seed):
    graph, communities = graph_of(seed), np.random.default_rng(seed).integers(0, 3, SIZE)
    weights = weights_of(graph)
    assert weights == pytest.approx((1 + cosines(graph.distances)) / 2)
    degrees = [sum(1 - distance / 4 for _, distance in neighbours(graph, row)) for row in range(SIZE)]
    volumes = {name: sum(degrees[row] for row in range(SIZE) if communities[row] == name) for name in range(3)}
    expected = []
    for row in range(SIZE):
        shares = 0.0
        for other, distance in neighbours(graph, row):
            ancestor = volumes[communities[row]] if communities[row] == communities[other] else sum(degrees)
            shares += (1 - distance / 4) * math.log2(ancestor)
        expected.append(shares / sum(degrees))
    assert structural_entropies(graph, weights, communities) == pytest.approx(expected)


def entropy_of(rows, columns, weights, communities):
    """Return the two-dimensional structural entropy by its definition (Li and Pan 2016)."""
    degrees, cuts = np.bincount(rows, weights), {}
    volumes = {name: degrees[communities == name].sum() for name in set(communities)}
    for row, column, weight in zip(rows, columns, weights, strict=True):
        if communities[row] != communities[column]:
            cuts[communities[row]] = cuts.get(communities[row], 0) + weight
    total = degrees.sum()
    inner = sum(d / total * math.log2(d / volumes[name]) for d, name in zip(degrees, communities, strict=True))
    outer = sum(cut / total * math.log2(volumes[name] / total) for name, cut in cuts.items())
    return -inner - outer


@few
@given(SEEDS)
def test_merging_gains_are_what_the_structural_entropy_loses(seed):
    graph, communities = (
        graph_of(seed),
        np.unique(np.random.default_rng(seed).integers(0, 6, SIZE), return_inverse=True)[1],
    )
    rows, weights, count = np.repeat(np.arange(SIZE), graph.degrees), weights_of(graph), communities.max() + 1
    between = np.zeros((count, count))
    np.add.at(between, (communities[rows], communities[graph.indices]), weights)
    ones, others = np.nonzero(between)
    edges = Edges(ones, others, between[ones, others])
    before = entropy_of(rows, graph.indices, weights, communities)
    for one, other, gain in zip(ones, others, merging_gains(edges, count, weights.sum()), strict=True):
        if one != other:
            merged = np.where(communities == other, one, communities)
            after = entropy_of(rows, graph.indices, weights, merged)
            assert gain == pytest.approx(weights.sum() * (before - after), abs=1e-6)


def test_communities_are_the_groups_that_hang_together():
    random = np.random.default_rng(0)
    centres = np.eye(3, dtype=np.float32).repeat(12, axis=0)
    graph = knn_graph(unit_rows(centres + random.normal(scale=0.05, size=centres.shape).astype(np.float32)), 6)
    found = communities_of(graph, weights_of(graph))
    assert all(
        len({*found[start : start + 12]} & {*np.delete(found, range(start, start + 12))}) == 0 for start in (0, 12)
    )
    singles = entropy_of(*edges_of(graph), np.arange(36))
    assert entropy_of(*edges_of(graph), found) < singles


def edges_of(graph):
    return np.repeat(np.arange(graph.nodes), graph.degrees), graph.indices, weights_of(graph)


@few
@given(SEEDS, st.integers(0, 18))
def test_blue_noise_rejects_what_is_more_similar_than_a_threshold(seed, budget):
    graph, importance = graph_of(seed), np.random.default_rng(seed).integers(0, 9, SIZE).astype(float)
    weights, kept = weights_of(graph), np.arange(4, SIZE)

    def spaced(threshold):
        rejected, picks = set(), []
        for row in sorted(kept.tolist(), key=lambda row: (-importance[row], row)):
            if row in rejected or len(picks) == budget:
                continue
            picks.append(row)
            rejected |= {other for other, distance in neighbours(graph, row) if 1 - distance / 4 > threshold}
        return picks

    found = blue_noise(graph, weights, importance, kept, budget).tolist()
    assert len(found) == len(set(found)) == budget
    assert any(found == spaced(threshold) for threshold in np.unique(weights))
    assert len(spaced(1.0)) == budget


def test_infomax_and_ses_never_keep_the_hardest(tmp_path):
    pool = pool_of(2, tmp_path)
    hardest = set(np.argsort(pool.hardness)[-6:])
    for method in (infomax, ses):
        rows = method(pool, 18, Knobs(drop=0.25, k=3), 0)
        assert len(set(rows)) == 18
        assert not hardest & set(rows)
