"""The pipeline over the pool's own tars shows each sample as often as the run's weights say."""

from collections import Counter
from itertools import pairwise

import pytest
from training_reader_runs import seat

import filtering


def test_an_epoch_shows_a_sample_as_often_as_the_run_says(weighed, repeats):
    dataset = filtering.kept_pipeline(str(weighed))
    found = [sample["__key__"] for sample in dataset]
    assert Counter(found) == repeats
    assert dataset.samples == len(found) == round(2.5 * len(repeats))
    # Spread: all samples are seen before any is seen again.
    assert len(set(found[: len(repeats)])) == len(repeats)
    assert all(first != second for first, second in pairwise(found))


@pytest.mark.parametrize("shuffled", [False, True])
def test_nodes_and_workers_share_the_repeats(weighed, repeats, shuffled):
    found = Counter[str]()
    for rank in range(2):
        part = Counter[str]()
        for worker in range(2):
            with seat(rank, 2, worker, 2):
                dataset = filtering.kept_pipeline(str(weighed), shuffle_shards=shuffled, shuffle=5)
                part.update(sample["__key__"] for sample in dataset)
        assert dataset.samples_of_node(0, rank, 2) == part.total()
        found += part
    assert found == repeats


def test_resampling_shows_repeated_samples_more_often(weighed, repeats):
    dataset = filtering.kept_pipeline(str(weighed), resampled=True, weights=[1.0, 1.0, 1.0]).with_epoch(1500)
    found = Counter(sample["__key__"] for sample in dataset)
    often, once = ([key for key in repeats if test(repeats[key])] for test in (lambda n: n >= 4, lambda n: n == 1))
    assert min(found[key] for key in often) > max(found[key] for key in once)
