import numpy as np
from examples import examples
from hypothesis import given
from line_pools import SPARE, LinePool, chains, check_exact

from filtering.concepts.partition import moved_rows
from filtering.concepts.true_neighbours import still_exact, with_radius


@examples(2)
@given(chains())
def test_rows_whose_neighbours_still_follow_have_exactly_those_of_todays_pool(chain):
    shapes, runs, k = chain
    width = k + SPARE
    before = LinePool(runs[0], shapes)
    known = with_radius(before.nearest(before.measured(before.names), width))
    check_exact(before, known, k)
    for shards in runs[1:]:
        now = LinePool(shards, shapes)
        same = [name for name in now.names if name in before.names]
        new = set(now.names) - set(same)
        left = still_exact(known, before.places(now), now.nearest(now.measured(same), width, new), k)
        assert set(left["row"].tolist()) <= set(moved_rows(known["row"], before.places(now)).tolist()) - {-1}
        check_exact(now, left, k)
        if set(before.names) <= set(now.names):
            # Nothing was lost.
            assert left["row"].tolist() == sorted(moved_rows(known["row"], before.places(now)).tolist())
        # The rows of new shards join, as they do in `find_exact`.
        fresh = with_radius(now.nearest(now.measured(new), width))
        both = {name: np.concatenate([left[name], fresh[name]]) for name in left}
        order = np.argsort(both["row"])
        before, known = now, {name: column[order] for name, column in both.items()}


def test_a_row_that_lost_a_neighbour_stays_if_others_are_within_the_known_distance():
    shapes = {"a": [0, 1], "b": [2], "c": [3], "d": [9]}
    before, now = LinePool("abc", shapes), LinePool("acd", shapes)
    known = with_radius(before.nearest([("a", 0)], 3))
    assert known["within"].tolist() == [3]
    new = now.nearest([("a", 0)], 3, {"d"})
    left = still_exact(known, before.places(now), new, 2)
    assert left["distances"].tolist() == [[1, 3, np.inf]]
    assert left["within"].tolist() == [3]
    # The third neighbour, at distance 9, is not certain: an unknown row could be nearer.
    assert len(still_exact(known, before.places(now), new, 3)["row"]) == 0


def test_a_row_that_knew_the_whole_pool_stays_whatever_it_loses():
    shapes = {"a": [0, 1], "b": [2], "d": [9]}
    before, now = LinePool("ab", shapes), LinePool("ad", shapes)
    known = with_radius(before.nearest([("a", 0)], 4))
    assert known["within"].tolist() == [np.inf]
    left = still_exact(known, before.places(now), now.nearest([("a", 0)], 4, {"d"}), 4)
    assert left["distances"].tolist() == [[1, 9, np.inf, np.inf]]
    assert left["within"].tolist() == [np.inf]
