"""Pools of shards whose rows are whole numbers on a line, so that many are equally far, and runs over them."""

import numpy as np
from hypothesis import strategies as st

SPARE = 2


class LinePool:
    """The pool of one run: a list of whole numbers for each shard."""

    def __init__(self, shards, shapes):
        self.names = list(shards)
        self.points = {(name, row): point for name in shards for row, point in enumerate(shapes[name])}
        self.id_of = {key: (self.names.index(key[0]) << 32) | key[1] for key in self.points}

    def places(self, later):
        """The place of each shard in a later pool."""
        found = [later.names.index(name) if name in later.names else -1 for name in self.names]
        return np.array(found, dtype=np.int64)

    def nearest(self, rows, width, among=None):
        """The nearest rows of some shards, as those shards find them: none is its own neighbour."""
        distances = np.full((len(rows), width), np.inf, dtype=np.float32)
        neighbours = np.full((len(rows), width), -1, dtype=np.int64)
        for at, key in enumerate(rows):
            others = [o for o in self.points if o != key and (among is None or o[0] in among)]
            apart = sorted((abs(self.points[o] - self.points[key]), self.id_of[o]) for o in others)[:width]
            for column, (distance, one) in enumerate(apart):
                distances[at, column], neighbours[at, column] = distance, one
        return {"row": self.ids(rows), "distances": distances, "neighbours": neighbours}

    def ids(self, rows):
        return np.array([self.id_of[key] for key in rows], dtype=np.int64)

    def measured(self, among):
        """Every other row of some shards measures recall, in the order of ids."""
        return sorted((key for key in self.points if key[1] % 2 == 0 and key[0] in among), key=self.id_of.get)


def check_exact(pool, found, k):
    """Check that the k nearest distances are true, and that nothing up to `within` is missing."""
    rows = {one: key for key, one in pool.id_of.items()}
    names = [rows[one] for one in found["row"].tolist()]
    every = pool.nearest(names, max(len(pool.points), k))
    assert found["distances"][:, :k].tolist() == every["distances"][:, :k].tolist()
    width = found["distances"].shape[1]
    for at, key in enumerate(names):
        known = np.isfinite(found["distances"][at])
        assert (found["neighbours"][at] >= 0).tolist() == known.tolist()
        for distance, one in zip(found["distances"][at][known], found["neighbours"][at][known].tolist(), strict=True):
            assert abs(pool.points[rows[one]] - pool.points[key]) == distance
            assert rows[one] != key
        assert len(set(found["neighbours"][at][known].tolist())) == known.sum()
        # No row nearer than `within` is unknown, as long as there is room for it.
        nearer = (every["distances"][at] < found["within"][at]).sum()
        assert known.sum() >= min(nearer, width)


@st.composite
def chains(draw):
    """Shapes of shards by name, the shards of each of some runs, in an order that stays, and k."""
    names = "abcdefgh"
    shapes = {name: draw(st.lists(st.integers(0, 20), max_size=5)) for name in names}
    runs = draw(st.lists(st.sets(st.sampled_from(names), min_size=1), min_size=2, max_size=5))
    return shapes, [sorted(run) for run in runs], draw(st.integers(1, 4))
