import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from filtering.report.bins import BINS, binned, counted, summed

SCORES = arrays.arrays(np.float32, st.integers(0, 80), elements=st.floats(-1e6, 1e6, width=32))


@given(SCORES, st.data())
def test_every_score_is_counted_once(scores, data):
    kept = np.array(data.draw(st.lists(st.booleans(), min_size=len(scores), max_size=len(scores))), dtype=bool)
    counts = counted(scores, kept)
    assert (counts.kept.sum(), counts.dropped.sum()) == (kept.sum(), (~kept).sum())
    chart = binned("score", "", counts)
    if chart is not None:
        assert len(chart.edges) == BINS + 1
        assert (sum(chart.kept), sum(chart.dropped)) == (kept.sum(), (~kept).sum())
        assert list(chart.edges) == sorted(chart.edges)


@given(SCORES, st.integers(0, 80))
def test_counts_of_shards_add_up_to_those_of_the_pool(scores, cut):
    kept = scores > 0
    parts = [counted(scores[piece], kept[piece]) for piece in (slice(None, cut), slice(cut, None))]
    whole, total = counted(scores, kept), summed(parts)
    for name in ("key", "kept", "dropped"):
        assert np.array_equal(getattr(whole, name), getattr(total, name))


def test_bins_are_those_of_the_values():
    scores = np.random.default_rng(0).normal(size=20_000).astype(np.float32)
    kept = scores > 0.5
    chart = binned("score", "about", counted(scores, kept))
    exact = [np.histogram(scores[mask], chart.edges)[0] for mask in (kept, ~kept)]
    inner = slice(1, -1)
    for found, true in zip((chart.kept, chart.dropped), exact, strict=True):
        # A value is known to 11 bits: few cross an edge.
        assert np.abs(np.array(found) - true)[inner].sum() < 0.02 * len(scores)
    assert (chart.name, chart.about) == ("score", "about")
    assert chart.below
    assert chart.above


def test_few_far_values_do_not_squeeze_the_axis():
    scores = np.append(np.random.default_rng(0).uniform(0, 1, 5_000), [1e9, -1e9]).astype(np.float32)
    chart = binned("score", "", counted(scores, np.ones(len(scores), dtype=bool)))
    assert -0.1 < chart.edges[0] < chart.edges[-1] < 1.1
    assert sum(chart.kept) == 5_002


def test_one_value_makes_no_histogram():
    assert binned("score", "", counted(np.full(9, 0.5, np.float32), np.ones(9, dtype=bool))) is None
    assert binned("score", "", summed([])) is None


def test_scores_that_are_not_finite_are_left_out():
    counts = counted(np.array([np.nan, np.inf, 1, 2], np.float32), np.ones(4, dtype=bool))
    assert counts.kept.sum() == 2
