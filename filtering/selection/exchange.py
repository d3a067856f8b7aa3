"""The exchange of picks between concepts: a block of concepts and the times of others' picks in, picks and times out.

Every concept runs its own greedy. In each round it takes the picks that its neighbours in other concepts made in the
round before at the times at which they made them. What no longer changes is the greedy over the whole pool.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from filtering.core.csr import FloatArray, Int64Array, grouped, row_pointers
from filtering.graph.sharded import positions
from filtering.selection.exchange_kernel import FULL, pick_among, sort_events, sort_times
from filtering.selection.kernel import Float64Array

Int32Array = npt.NDArray[np.int32]
# How many keys a time has at first; most have one.
STACK = 16
# Of a greedy that goes on until its budget is spent.
NO_LEVEL = -np.inf


@dataclass(frozen=True, slots=True)
class PickTimes:
    """The times of t picks (`exchange_kernel`): time i is keys [starts[i], starts[i + 1]), the last one the pick's."""

    starts: Int64Array  # (t + 1,)
    values: Float64Array  # (m,)
    rows: Int64Array  # (m,), global rows

    @property
    def picks(self) -> Int64Array:
        """The global rows of the picks, int64 (t,)."""
        return self.rows[self.starts[1:] - 1]

    @property
    def levels(self) -> Float64Array:
        """The first score of each time, float64 (t,): the lowest score that was picked until then."""
        return self.values[self.starts[:-1]]

    def same(self, other: "PickTimes") -> bool:
        """Return whether these are the same picks at the same times."""
        pairs = ((getattr(self, field.name), getattr(other, field.name)) for field in fields(self))
        return all(np.array_equal(a, b) for a, b in pairs)


@dataclass(frozen=True, slots=True)
class Reached:
    """How the picks reach other samples: by expected novelty (`novel`) or by reverse messages, at which distance."""

    novel: bool
    gamma: float = 1.0
    root: bool = False


@dataclass(frozen=True, slots=True)
class Bordered:
    """The n samples of k concepts of a block before any pick, with the edges inside concepts and across borders."""

    concept: Int32Array  # (k,)
    partition: Int32Array  # (k,)
    first: Int64Array  # (k + 1,), where each concept's samples start
    row: Int64Array  # (n,), global rows
    x: Float64Array  # (n,), scores after forward messages, or gains
    p: Float64Array  # (n,), probabilities, and what they are worth: of expected novelty alone
    worth: Float64Array
    unit: Float64Array  # (k,), of the distances at the samples of each concept
    # The edges inside the concepts, in both directions: the other end is a place in `row`
    indptr: Int64Array
    indices: Int32Array
    distances: FloatArray
    # The edges across borders by the sample at this end; the other ends are places in `end_row`, ascending
    leaving: Int64Array  # (n + 1,)
    edge_end: Int32Array
    edge_distances: FloatArray
    end_row: Int64Array
    end_p: Float64Array

    @classmethod
    def of(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> "Bordered":
        """Return what `arrays` was made of."""
        return cls(**{field.name: arrays[field.name] for field in fields(cls)})

    @classmethod
    def joined(cls, parts: Sequence["Bordered"]) -> "Bordered":
        """Return some partitions as one block."""
        whole = {field.name: np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(cls)}
        samples = np.cumsum([0, *(len(part.row) for part in parts)])
        for name, counted in (("first", "row"), ("indptr", "indices"), ("leaving", "edge_end")):
            shift = np.cumsum([0, *(len(getattr(part, counted)) for part in parts)])
            # Where each starts; the end of all comes once.
            starts = [getattr(part, name)[:-1] + start for part, start in zip(parts, shift.tolist(), strict=False)]
            whole[name] = np.concatenate([*starts, shift[-1:]])
        indices = [part.indices + start for part, start in zip(parts, samples.tolist(), strict=False)]
        whole["indices"] = np.concatenate(indices).astype(np.int32)
        rows, first, place = np.unique(whole["end_row"], return_index=True, return_inverse=True)
        ends = np.cumsum([0, *(len(part.end_row) for part in parts)]).tolist()
        edge_end = np.concatenate([part.edge_end + start for part, start in zip(parts, ends, strict=False)])
        whole |= {"end_row": rows, "end_p": whole["end_p"][first], "edge_end": place[edge_end].astype(np.int32)}
        return cls(**whole)

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return all of it by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


@dataclass(frozen=True, slots=True)
class ConceptPicks:
    """The picks of one concept in order: places in its block, int64 (p,), and their scores, float64 (p,)."""

    at: int  # which of the block's concepts
    places: Int64Array
    scores: Float64Array


class Exchange:
    """Lets the concepts of a block pick among the picks of others at given times."""

    def __init__(self, bordered: Bordered, reached: Reached, times: PickTimes | None = None) -> None:
        self.bordered, self.reached = bordered, reached
        self.times = times or PickTimes(np.zeros(1, np.int64), np.zeros(0), np.zeros(0, np.int64))
        self._order_events()
        size, longest = len(bordered.row), int(np.diff(bordered.first).max(initial=0))
        self._heap, self._place = np.empty(longest, np.int64), np.empty(size, np.int64)
        self._picks, self._ends = np.empty(longest, np.int64), np.empty(longest, np.int64)
        self._stack = np.empty(STACK), np.empty(STACK, np.int64)
        self._path = np.empty(2 * size + STACK), np.empty(2 * size + STACK, np.int64)
        self._used, self._starts = 0, [np.zeros(1, np.int64)]

    def _order_events(self) -> None:
        """Sort the edges over which others' picks weigh on each concept by the times of the picks."""
        bordered, times = self.bordered, self.times
        ends = positions(bordered.end_row, times.picks)
        order = np.flatnonzero(ends >= 0)
        sort_times(order, np.empty_like(order), times.starts, times.values, times.rows)
        edge_end = bordered.edge_end.astype(np.int64)
        edges, end_starts = grouped(edge_end, len(bordered.end_row))
        bounds = bordered.leaving[bordered.first]
        concepts = np.repeat(np.arange(len(bordered.concept)), np.diff(bounds))
        self._first, self._last = bounds[:-1], bounds[:-1].copy()
        self._events, self._event_time = np.empty(len(edge_end), np.int64), np.empty(len(edge_end), np.int64)
        sort_events(order, ends, end_starts, edges, concepts, self._last, self._events, self._event_time)
        self._edge_node = np.repeat(np.arange(len(bordered.row)), np.diff(bordered.leaving))
        self._key_nodes = np.full(len(times.rows), -1)
        # Only keys before the last one are looked at.
        several = np.repeat(np.diff(times.starts) > 1, np.diff(times.starts))
        self._key_nodes[several] = positions(bordered.row, times.rows[several])

    def picks(self, budgets: Int64Array, level: float = NO_LEVEL, *, every: bool = False) -> Iterator[ConceptPicks]:
        """Yield the picks of each concept, at most its budget, int64 (k,), and none after the level is below `level`.

        With `every`, `seen` has the times of all picks afterwards, else of those with edges across the border.
        """
        x, nu = self.bordered.x.copy(), np.ones(len(self.bordered.row) if self.reached.novel else 0)
        for at, budget in enumerate(budgets.tolist()):
            first, last = self.bordered.first[at : at + 2].tolist()
            while (taken := self._pick(at, first, last, budget, level, x, nu, every)) == FULL:
                self._grow()
                x[first:last] = self.bordered.x[first:last]
                nu[first:last] = 1.0
            places, ends = self._picks[:taken].copy(), self._ends[:taken].copy()
            self._starts.append(ends[np.diff(ends, prepend=self._used) > 0])
            self._used = int(ends[-1]) if taken else self._used
            yield ConceptPicks(at, places, x[places])

    @property
    def seen(self) -> PickTimes:
        """The times of the picks so far."""
        values, rows = self._path
        return PickTimes(np.concatenate(self._starts), values[: self._used].copy(), rows[: self._used].copy())

    def _pick(
        self, at: int, first: int, last: int, budget: int, level: float, x: Float64Array, nu: Float64Array, every: bool
    ) -> int:
        one, times, reached = self.bordered, self.times, self.reached
        taken: int = pick_among(
            *(first, last, budget, level, one.indptr, one.indices, one.distances),
            *(self._edge_node, one.edge_end, one.edge_distances, one.leaving, one.end_p),
            *(self._events, self._event_time, int(self._first[at]), int(self._last[at])),
            *(times.starts, times.values, times.rows, self._key_nodes, one.row, x, one.p, one.worth, nu),
            *(reached.novel, reached.gamma, reached.root, float(one.unit[at]), every),
            *(self._heap, self._place, *self._stack, self._picks, self._ends, *self._path, self._used),
        )
        return taken

    def _grow(self) -> None:
        """Make room for longer times."""
        self._stack = np.empty(2 * len(self._stack[0])), np.empty(2 * len(self._stack[0]), np.int64)
        values, rows = self._path
        self._path = np.concatenate([values, np.empty_like(values)]), np.concatenate([rows, np.empty_like(rows)])


@dataclass(frozen=True, slots=True)
class Ends:
    """The rows that a partition's part of the graph touches: global rows, int64 (u,), ascending, and their scores.

    `own`, int64 (n,), and `edges`, int64 (m,), are the places in them of the part's rows and of its edges' other ends.
    """

    rows: Int64Array
    scores: Float64Array  # float64 (u,)
    own: Int64Array
    edges: Int64Array


def bordered(
    partition: int,
    concept: Int32Array,
    indptr: Int64Array,
    distances: FloatArray,
    ends: Ends,
    **columns: npt.NDArray[Any],
) -> Bordered:
    """Return a partition's samples, sorted by `concept`, int32 (n,), with their edges, CSR with squared `distances`.

    `columns` are `x`, `p`, `worth` and `unit` of `Bordered`.
    """
    nodes = len(concept)
    starts = np.flatnonzero(np.diff(concept, prepend=-1))
    place_of = np.full(len(ends.rows), -1)
    place_of[ends.own] = np.arange(nodes)
    sources, places = np.repeat(np.arange(nodes), np.diff(indptr)), place_of[ends.edges]
    inside = places >= 0
    inside[inside] = concept[places[inside]] == concept[sources[inside]]
    is_end = np.zeros(len(ends.rows), dtype=bool)
    is_end[ends.edges[~inside]] = True
    number_of = np.cumsum(is_end) - 1
    return Bordered(
        concept=concept[starts],
        partition=np.full(len(starts), partition, dtype=np.int32),
        first=np.append(starts, nodes),
        row=ends.rows[ends.own],
        indptr=row_pointers(sources[inside], nodes),
        indices=places[inside].astype(np.int32),
        distances=distances[inside],
        leaving=row_pointers(sources[~inside], nodes),
        edge_end=number_of[ends.edges[~inside]].astype(np.int32),
        edge_distances=distances[~inside],
        end_row=ends.rows[is_end],
        end_p=ends.scores[is_end],
        **columns,
    )
