import math

import numpy as np
import pytest

from filtering.scores import dlc
from filtering.scores.dlc import (
    Complexity,
    candidate_prototypes,
    capacities,
    concept_sums,
    mean_prototypes,
)


def test_capacities():
    assert np.allclose(capacities(50, "geometric"), [0.98**k for k in range(50)])
    assert np.array_equal(capacities(50, "random"), capacities(50, "geometric"))
    linear = capacities(50, "linear")
    assert np.allclose(linear[[0, 1, 49]], [1, 0.98, 0.02])
    for schedule in ("geometric", "linear", "random"):
        assert capacities(1, schedule).tolist() == [1.0]


def by_loops(features, prototypes, labels, candidates=None):
    scores = []
    for row, label in enumerate(labels):
        classes = range(len(prototypes)) if candidates is None else [c for c in candidates[row] if c >= 0]
        losses = []
        for one in features:
            logits = {c: 1 / max(math.dist(one[row], prototypes[c]), 1e-6) for c in classes}
            peak = max(logits.values())
            losses.append(peak + math.log(sum(math.exp(one - peak) for one in logits.values())) - logits[label])
        scores.append(sum(losses) / len(losses))
    return scores


def learning_complexity(features, prototypes, labels):
    complexity = Complexity(prototypes, labels)
    for one in features:
        complexity.add(one)
    return complexity.scores()


@pytest.fixture
def case():
    random = np.random.default_rng(0)
    features = [random.normal(size=(20, 6)).astype(np.float32) for _ in range(4)]
    prototypes = random.normal(size=(9, 6)).astype(np.float32)
    return features, prototypes, random.integers(0, 9, 20)


@pytest.mark.parametrize("block", [7, 64])
def test_complexities_are_those_of_plain_loops(case, monkeypatch, block):
    monkeypatch.setattr(dlc, "BLOCK_ROWS", block)
    found = learning_complexity(*case)
    assert found.dtype == np.float32
    assert np.allclose(found, by_loops(*case), rtol=1e-5)


def test_a_sample_on_a_prototype_has_a_finite_loss(case):
    features, prototypes, labels = case
    for one in features:
        one[0] = prototypes[labels[0]]
        one[1] = prototypes[(labels[1] + 1) % 9]
    found = learning_complexity(features, prototypes, labels)
    assert found[0] == 0
    assert 1e5 < found[1] < 2e6
    assert np.allclose(found, by_loops(features, prototypes, labels), rtol=1e-5)


def test_complexity_by_candidates(case):
    features, prototypes, labels = case
    candidates = candidate_prototypes(features[0], prototypes, labels, 3)
    complexity = Complexity(prototypes, labels, candidates)
    for one in features:
        complexity.add(one)
    assert np.allclose(complexity.scores(), by_loops(features, prototypes, labels, candidates), rtol=1e-5)


@pytest.mark.parametrize("block", [2, 16_384])
def test_candidates_are_the_own_prototype_and_the_nearest(case, monkeypatch, block):
    monkeypatch.setattr(dlc, "BLOCK_PROTOTYPES", block)
    (features, *_), prototypes, labels = case
    found = candidate_prototypes(features, prototypes, labels, 3)
    for row in range(20):
        nearest = sorted(range(9), key=lambda c: math.dist(features[row], prototypes[c]))[:3]
        assert found[row, 0] == labels[row]
        assert found[row, 1:].tolist() == [-1 if c == labels[row] else c for c in nearest]


def test_with_few_prototypes_all_are_candidates(case):
    features, prototypes, labels = case
    prototypes[4] = np.nan
    labels[labels == 4] = 5
    candidates = candidate_prototypes(features[0], prototypes, labels, 64)
    assert candidates.shape == (20, 10)
    for row in range(20):
        assert sorted(candidates[row][candidates[row] >= 0]) == [0, 1, 2, 3, 5, 6, 7, 8]
    complexity = Complexity(prototypes, labels, candidates)
    for one in features:
        complexity.add(one)
    assert np.allclose(complexity.scores(), learning_complexity(features, prototypes, labels), rtol=1e-6)


def test_one_prototype_alone_is_no_question(case):
    features, prototypes, _ = case
    assert np.allclose(learning_complexity(features, prototypes[:1], np.zeros(20, int)), 0, atol=1e-7)


def test_no_samples():
    assert learning_complexity([np.zeros((0, 3), np.float32)], np.eye(3, dtype=np.float32), np.zeros(0, int)).size == 0


def test_prototypes_are_means_of_all_shards():
    random = np.random.default_rng(1)
    images = random.normal(size=(30, 4)).astype(np.float32)
    homes = random.choice([0, 1, 3], 30).astype(np.int32)
    parts = [concept_sums(images[part], homes[part]) for part in (slice(0, 11), slice(11, 11), slice(11, 30))]
    assert parts[0].concepts.dtype == np.int32
    assert parts[0].counts.sum() == 11
    found = mean_prototypes(parts, 5, 4)
    assert found.dtype == np.float32
    for concept in (0, 1, 3):
        assert np.allclose(found[concept], images[homes == concept].mean(axis=0), atol=1e-6)
    assert np.isnan(found[[2, 4]]).all()
