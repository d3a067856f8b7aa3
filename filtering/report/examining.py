"""A pass over the partitions: a line for each concept, examples of some, the largest groups of near-duplicates."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from filtering.concepts.partition import shard_and_row
from filtering.graph.artifacts import read_graph
from filtering.graph.sharded import ShardGraph, inside_concept, positions
from filtering.report.examples import concept_examples, covering_neighbours, near_duplicates
from filtering.report.locations import Places
from filtering.runtime.shuffle import runs
from filtering.selection.artifacts import partition_picks
from filtering.selection.scores import read_collected
from filtering.storage.store import Store

# From this cosine on two pictures count as near-duplicates.
DUPLICATE_COSINE = 0.99
PER_SHEET, GROUPS, PER_GROUP = 6, 12, 7
# Of a group those that are kept come first, but no more than these where others are not.
KEPT_PER_GROUP = 4
CONCEPTS_NAME = "{:08d}.concepts.npz"
COLUMNS = ("concept", "kept", "difficulty", "duplicates")
# Of a concept: how many are kept, their mean score, how many have a near-duplicate.
ConceptLine = tuple[int, float, int]


def examine_partition(
    partition: int, chosen: Sequence[int], pictured: Sequence[int] | None, places: Places
) -> dict[str, Any]:
    """Write a line for each concept of a partition, and find examples of some, and the largest duplicate groups.

    Parameters
    ----------
    chosen : list of int
        The concepts of which examples are shown.
    pictured : list of int or None
        The shards whose pictures are read; None where there are none at all, and any sample will do.
    """
    part = read_graph(Store(places.graph), partition)
    if part is None:
        return {"sheets": {}, "groups": [], "rows": {}, "concepts": 0}
    found = _Examined(part, partition, places, pictured)
    lines, sheets = [], {}
    for members in runs(part.concept):
        concept = int(part.concept[members.start])
        lines.append((concept, *found.line(members)))
        if concept in chosen:
            sheets[str(concept)] = found.sheet(members)
    columns = [np.array(column) for column in zip(*lines, strict=True)]
    Store(places.store).write_arrays(CONCEPTS_NAME.format(partition), dict(zip(COLUMNS, columns, strict=True)))
    return {"sheets": sheets, "groups": found.groups(), "rows": found.rows, "concepts": len(lines)}


def read_lines(store: Store, partition: int) -> Iterator[tuple[int, ConceptLine]]:
    """Yield each concept of a partition that has rows, with its line."""
    arrays = store.read_arrays(CONCEPTS_NAME.format(partition))
    for concept, kept, difficulty, duplicates in zip(*(arrays[name].tolist() for name in COLUMNS), strict=True):
        yield concept, (kept, difficulty, duplicates)


class _Examined:
    """A partition, with what is known of its rows.

    Attributes
    ----------
    rows : of each row that is shown, by global id: score, rank (-1: not kept), covering neighbour (-1: none), cosine.
    """

    def __init__(self, part: ShardGraph, partition: int, places: Places, pictured: Sequence[int] | None) -> None:
        self.part = part
        picks = partition_picks(Store(places.picks), partition)
        self.ranks = np.full(len(part.row), -1, dtype=np.int64)
        self.ranks[positions(part.row, np.ascontiguousarray(picks["row"]))] = picks["rank"]
        self.scores = _judged(part, partition, places)
        shards = shard_and_row(part.row)[0]
        self.eligible = np.ones(len(part.row), dtype=bool) if pictured is None else np.isin(shards, pictured)
        self.duplicated, self.group = near_duplicates(part, DUPLICATE_COSINE)
        self.rows: dict[str, list[float]] = {}

    def line(self, members: slice) -> ConceptLine:
        """Return how many of a concept are kept, their mean score, and how many have a near-duplicate."""
        scores = self.scores[members]
        scores = scores[np.isfinite(scores)]
        mean = float(scores.mean()) if len(scores) else float("nan")
        return int((self.ranks[members] >= 0).sum()), mean, int(self.duplicated[members].sum())

    def sheet(self, members: slice) -> dict[str, list[int]]:
        """Return the rows of a concept's sheet, global ids."""
        ranks, rows = self.ranks[members], self.part.row[members]
        found = concept_examples(self.scores[members], ranks, self.eligible[members], PER_SHEET)
        near, cosines = covering_neighbours(inside_concept(self.part, members), ranks >= 0)
        parts = {name: getattr(found, name) for name in ("kept", "dropped", "hardest", "easiest")}
        for place in np.concatenate(list(parts.values())).tolist():
            covered = near[place] >= 0 and ranks[place] < 0
            cover = (int(rows[near[place]]), round(float(cosines[place]), 4)) if covered else (-1, 0.0)
            self._show(members.start + place, *cover)
        return {name: rows[places].tolist() for name, places in parts.items()}

    def groups(self) -> list[dict[str, Any]]:
        """Return the partition's largest groups of near-duplicates, with some of their rows, kept ones first."""
        labels, sizes = np.unique(self.group, return_counts=True)
        order = np.lexsort((labels, -sizes))[:GROUPS]
        return [self._group(int(labels[at]), int(sizes[at])) for at in order if sizes[at] > 1]

    def _group(self, label: int, size: int) -> dict[str, Any]:
        members = np.flatnonzero(self.group == label)
        kept = self.ranks[members] >= 0
        order = members[np.lexsort((members, ~self.eligible[members], ~kept))]
        first = min(int(kept.sum()), max(KEPT_PER_GROUP, PER_GROUP - int((~kept).sum())))
        shown = np.concatenate([order[:first], order[kept.sum() :]])[:PER_GROUP]
        for place in shown.tolist():
            self._show(place)
        concept = int(self.part.concept[label])
        return {"concept": concept, "size": size, "kept": int(kept.sum()), "rows": self.part.row[shown].tolist()}

    def _show(self, place: int, cover: int = -1, alike: float = 0.0) -> None:
        row = str(int(self.part.row[place]))
        if cover >= 0 or row not in self.rows:
            self.rows[row] = [float(self.scores[place]), int(self.ranks[place]), cover, alike]


def _judged(part: ShardGraph, partition: int, places: Places) -> npt.NDArray[np.float64]:
    """Return the score of each row of a partition, float64 (n,), NaN where an earlier step had left it out."""
    scores = np.full(len(part.row), np.nan)
    if places.judged is not None:
        held = read_collected(Store(places.judged), partition)
        scores[positions(part.row, np.ascontiguousarray(held["row"]))] = held["score"]
    return scores
