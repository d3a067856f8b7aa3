import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filtering.core.csr import symmetrised
from filtering.core.portable_math import exp
from filtering.selection.d2 import greedy_picks
from filtering.selection.exchange import Bordered, Ends, Exchange, PickTimes, Reached, bordered
from filtering.selection.exchange_kernel import sort_times

# More than any pool here needs.
MOST_ROUNDS = 300


class Pool:
    """A pool of rows in concepts, with a graph, scores, and probabilities where they are picked by novelty."""

    def __init__(self, seed, *, rows=30, concepts=4, low=-1.0, whole=False, novel=False):
        random = np.random.default_rng(seed)
        sources = np.repeat(np.arange(rows), 3)
        lengths = random.choice([0.1, 0.5, 2.0], len(sources)) if whole else random.random(len(sources))
        targets = random.integers(0, rows, len(sources))
        self.graph = symmetrised(sources, targets, lengths.astype(np.float32), rows)
        self.concept = random.integers(0, concepts, rows)
        x = random.integers(-2, 4, rows) if whole else random.uniform(low, 1, rows)
        self.p = np.clip(random.uniform(-0.2, 1.2, rows), 0, 1)
        self.novel, self.rows, self.concepts = novel, rows, concepts
        self.x = 2 * self.p - 1 if novel else x.astype(np.float64)
        self.unit = random.uniform(0.5, 2, concepts)

    def weight(self, node, edge):
        """What a pick takes of a sample at this end over an edge, by the unit of its concept."""
        return exp(-1.0 * np.float64(self.graph.distances[edge]) / self.unit[self.concept[node]])

    def plain(self, quotas):
        """The greedy over the whole pool, by a loop: the highest score of all concepts that may still pick."""
        x, nu, left, picks = self.x.copy(), np.ones(self.rows), list(quotas), []
        there = set(range(self.rows))
        while open_rows := [row for row in there if left[self.concept[row]]]:
            pick = max(open_rows, key=lambda row: (x[row], -row))
            picks.append((pick, x[pick]))
            there.remove(pick)
            left[self.concept[pick]] -= 1
            for edge in range(self.graph.indptr[pick], self.graph.indptr[pick + 1]):
                other = self.graph.indices[edge]
                if other not in there:
                    continue
                # Both directions of an edge are equally long.
                if self.novel:
                    nu[other] *= 1.0 - self.p[pick] * self.weight(other, edge)
                    x[other] = self.p[other] * nu[other] - (1.0 - self.p[other])
                else:
                    x[other] -= self.weight(other, edge) * x[pick]
        return picks

    def partition(self, concepts):
        """What a partition holds that has some of the concepts."""
        own = np.flatnonzero(np.isin(self.concept, concepts))
        own = own[np.lexsort((-own, self.concept[own]))]
        edges = [range(self.graph.indptr[row], self.graph.indptr[row + 1]) for row in own]
        flat = np.array([edge for each in edges for edge in each], dtype=np.int64)
        rows, places = np.unique(np.concatenate([own, self.graph.indices[flat]]), return_inverse=True)
        ends = Ends(rows, self.p[rows], places[: len(own)], places[len(own) :])
        indptr = np.cumsum([0, *(len(each) for each in edges)])
        p = self.p[own] if self.novel else np.zeros(0)
        here = np.unique(self.concept[own])
        numbers = self.concept[own].astype(np.int32)
        return bordered(
            0, numbers, indptr, self.graph.distances[flat], ends, x=self.x[own], p=p, worth=p, unit=self.unit[here]
        )

    def rounds(self, partitions, quotas, most=MOST_ROUNDS):
        """Exchange picks between partitions, each a list of concepts; return the last round's picks, and the rounds."""
        parts = [Bordered.joined([self.partition([one]) for one in concepts]) for concepts in partitions]
        times, reached = None, Reached(self.novel)
        for number in range(most):  # noqa: B007
            exchanges = [Exchange(part, reached, times) for part in parts]
            picks = [
                [(int(part.row[place]), score) for place, score in zip(one.places, one.scores, strict=True)]
                for part, exchange in zip(parts, exchanges, strict=True)
                for one in exchange.picks(np.array(quotas)[part.concept], every=True)
            ]
            now = together([exchange.seen for exchange in exchanges])
            if times is not None and now.same(times):
                break
            times = now
        return picks, now, number


def together(parts):
    lengths = np.concatenate([np.diff(part.starts) for part in parts])
    values, rows = (np.concatenate([getattr(part, name) for part in parts]) for name in ("values", "rows"))
    return PickTimes(np.append(0, np.cumsum(lengths)), values, rows)


def by_concept(pool, picks):
    return [[pick for pick in picks if pool.concept[pick[0]] == concept] for concept in np.unique(pool.concept)]


def in_order(times):
    order = np.arange(len(times.picks))
    sort_times(order, np.empty_like(order), times.starts, times.values, times.rows)
    return times.picks[order].tolist()


POOLS = {
    "above 0": {"low": 0.2},
    "below 0": {},
    "all below 0": {"low": -9.0},
    "equal scores": {"whole": True},
    "novelty": {"novel": True},
}


@pytest.mark.parametrize("kind", POOLS)
@given(seed=st.integers(0, 10**6), data=st.data())
def test_picks_that_no_longer_change_are_those_of_one_greedy_over_the_pool(kind, seed, data):
    pool = Pool(seed, **POOLS[kind])
    quotas = data.draw(st.lists(st.integers(0, 12), min_size=pool.concepts, max_size=pool.concepts))
    quotas = np.minimum(quotas, np.bincount(pool.concept, minlength=pool.concepts))
    picks, _, rounds = pool.rounds([[0], [1, 2], [3]], quotas)
    assert rounds < MOST_ROUNDS - 1
    assert picks == by_concept(pool, pool.plain(quotas))


@pytest.mark.parametrize("kind", POOLS)
@given(seed=st.integers(0, 10**6))
def test_the_times_of_picks_are_the_order_of_one_greedy_over_the_pool(kind, seed):
    pool = Pool(seed, **POOLS[kind])
    _, times, _ = pool.rounds([[0, 1], [2, 3]], [pool.rows] * pool.concepts)
    assert in_order(times) == [row for row, _ in pool.plain([pool.rows] * pool.concepts)]


@pytest.mark.parametrize("kind", POOLS)
@given(seed=st.integers(0, 10**6), rounds=st.integers(1, 6))
def test_picks_after_any_number_of_rounds_do_not_depend_on_the_partitions(kind, seed, rounds):
    pool = Pool(seed, **POOLS[kind])
    quotas = np.bincount(pool.concept, minlength=pool.concepts) // 2
    found = [pool.rounds(parts, quotas, rounds)[0] for parts in ([[0, 1, 2, 3]], [[0], [1], [2], [3]])]
    assert found[0] == found[1]


def test_one_concept_picks_what_d2_picks():
    pool = Pool(3, rows=200, concepts=1)
    pool.unit[:] = 1.0
    picks, _, _ = pool.rounds([[0]], [200])
    assert [row for row, _ in picks[0]] == greedy_picks(pool.graph, pool.x, 200).tolist()


def test_no_pick_is_made_below_the_level():
    pool = Pool(5)
    (part,) = [pool.partition([0, 1, 2, 3])]
    exchange = Exchange(part, Reached(False))
    found = [one.scores for one in exchange.picks(np.full(4, 30), 0.5)]
    exchange = Exchange(part, Reached(False))
    whole = [one.scores for one in exchange.picks(np.full(4, 30))]
    assert all(np.minimum.accumulate(scores).min(initial=1) >= 0.5 for scores in found)
    assert all(np.array_equal(some, every[: len(some)]) for some, every in zip(found, whole, strict=True))
    assert all(len(every) == len(some) or every[len(some)] < 0.5 for some, every in zip(found, whole, strict=True))


def test_long_times_have_room():
    # A chain in which every pick below 0 raises the next one above itself.
    rows = 60
    pool = Pool(0, rows=rows, concepts=2)
    pool.graph = symmetrised(np.arange(rows - 1), np.arange(1, rows), np.full(rows - 1, 1e-3, np.float32), rows)
    pool.concept, pool.unit = np.arange(rows) % 2, np.ones(2)
    raised = 1 - np.arange(rows) / 100
    pool.x = -raised - exp(-1e-3) * np.append(0, raised[:-1])
    picks, times, _ = pool.rounds([[0], [1]], [rows, rows])
    assert np.diff(times.starts).max() > 16
    assert picks == by_concept(pool, pool.plain([rows, rows]))
