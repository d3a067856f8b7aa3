"""A pass over the partitions: a line for each concept, examples of some, and the largest groups of near-duplicates."""

from collections.abc import Iterator, Sequence
from typing import TypedDict

import numpy as np
import numpy.typing as npt

from filtering.concepts.partition import shard_and_row
from filtering.graph.artifacts import read_graph
from filtering.graph.sharded import ShardGraph, inside_concept, positions
from filtering.report.examples import concept_examples, covering_neighbours, near_duplicates
from filtering.report.locations import Locations
from filtering.runtime.shuffle import runs
from filtering.selection.artifacts import partition_picks
from filtering.selection.scores import read_collected
from filtering.storage.store import Store

# Minimum cosine of near-duplicates.
DUPLICATE_COSINE = 0.99
PER_SHEET, GROUPS, PER_GROUP = 8, 12, 7
# Kept members of a group come first; this many at most, if it has dropped members.
KEPT_PER_GROUP = 4
CONCEPTS_NAME = "{:08d}.concepts.npz"
COLUMNS = ("concept", "kept", "difficulty", "duplicates")
# Of a concept: kept samples, mean score, samples with a near-duplicate.
ConceptLine = tuple[int, float, int]


class SheetRows(TypedDict):
    """The rows of a concept's contact sheets, global ids, each in the order to show them."""

    kept: list[int]
    dropped: list[int]
    hardest: list[int]
    easiest: list[int]


class Group(TypedDict):
    """A group of near-duplicates: its concept, its size, its kept samples, and some of its rows, global ids."""

    concept: int
    size: int
    kept: int
    rows: list[int]


class Examined(TypedDict):
    """Examples of a partition.

    `sheets` are the contact sheets by concept, `groups` the largest groups of near-duplicates, `concepts` how many
    concepts have rows. `rows` has four numbers for each row that is shown, by its global id: score, rank (-1: not
    kept), covering neighbour (-1: none), and the cosine to it. Keys are text because task results are JSON.
    """

    sheets: dict[str, SheetRows]
    groups: list[Group]
    rows: dict[str, list[float]]
    concepts: int


def examine_partition(
    partition: int, chosen: Sequence[int], pictured: Sequence[int] | None, locations: Locations
) -> Examined:
    """Write a line for each concept of a partition; return examples and the largest groups of near-duplicates.

    The concepts `chosen` have contact sheets. Images are read from the shards `pictured`; metadata has none (None), so
    that any sample may be shown.
    """
    part = read_graph(locations.graph, partition)
    if part is None:
        return Examined(sheets={}, groups=[], rows={}, concepts=0)
    found = _Partition(part, partition, locations, pictured)
    lines, sheets = [], dict[str, SheetRows]()
    for members in runs(part.concept):
        concept = int(part.concept[members.start])
        lines.append((concept, *found.line(members)))
        if concept in chosen:
            sheets[str(concept)] = found.sheet(members)
    columns = [np.array(column) for column in zip(*lines, strict=True)]
    locations.store.write_arrays(CONCEPTS_NAME.format(partition), dict(zip(COLUMNS, columns, strict=True)))
    return Examined(sheets=sheets, groups=found.groups(), rows=found.rows, concepts=len(lines))


def read_lines(store: Store, partition: int) -> Iterator[tuple[int, ConceptLine]]:
    """Yield each concept of a partition that has rows, with its line."""
    arrays = store.read_arrays(CONCEPTS_NAME.format(partition))
    for concept, kept, difficulty, duplicates in zip(*(arrays[name].tolist() for name in COLUMNS), strict=True):
        yield concept, (kept, difficulty, duplicates)


class _Partition:
    """A partition with the picks and scores of its rows; for `rows` see `Examined`."""

    def __init__(self, part: ShardGraph, partition: int, locations: Locations, pictured: Sequence[int] | None) -> None:
        self.part = part
        picks = partition_picks(locations.picks, partition)
        self.ranks = np.full(len(part.row), -1, dtype=np.int64)
        self.ranks[positions(part.row, np.ascontiguousarray(picks["row"]))] = picks["rank"]
        self.scores = _last_scores(part, partition, locations.judged)
        shards = shard_and_row(part.row)[0]
        self.eligible = np.ones(len(part.row), dtype=bool) if pictured is None else np.isin(shards, pictured)
        self.duplicated, self.group = near_duplicates(part, DUPLICATE_COSINE)
        self.rows: dict[str, list[float]] = {}

    def line(self, members: slice) -> ConceptLine:
        """Return a concept's kept samples, its mean score, and its samples with a near-duplicate."""
        scores = self.scores[members]
        scores = scores[np.isfinite(scores)]
        mean = float(scores.mean()) if len(scores) else float("nan")
        return int((self.ranks[members] >= 0).sum()), mean, int(self.duplicated[members].sum())

    def sheet(self, members: slice) -> SheetRows:
        """Return the rows of a concept's contact sheets."""
        ranks, rows = self.ranks[members], self.part.row[members]
        found = concept_examples(self.scores[members], ranks, self.eligible[members], PER_SHEET)
        near, cosines = covering_neighbours(inside_concept(self.part, members), ranks >= 0)
        for at in np.concatenate([found.kept, found.dropped, found.hardest, found.easiest]).tolist():
            covered = near[at] >= 0 and ranks[at] < 0
            cover = (int(rows[near[at]]), round(float(cosines[at]), 4)) if covered else (-1, 0.0)
            self._show(members.start + at, *cover)
        return SheetRows(
            kept=rows[found.kept].tolist(),
            dropped=rows[found.dropped].tolist(),
            hardest=rows[found.hardest].tolist(),
            easiest=rows[found.easiest].tolist(),
        )

    def groups(self) -> list[Group]:
        """Return the partition's largest groups of near-duplicates, with some of their rows, kept ones first."""
        labels, sizes = np.unique(self.group, return_counts=True)
        order = np.lexsort((labels, -sizes))[:GROUPS]
        return [self._group(int(labels[at]), int(sizes[at])) for at in order if sizes[at] > 1]

    def _group(self, label: int, size: int) -> Group:
        members = np.flatnonzero(self.group == label)
        kept = self.ranks[members] >= 0
        order = members[np.lexsort((members, ~self.eligible[members], ~kept))]
        first = min(int(kept.sum()), max(KEPT_PER_GROUP, PER_GROUP - int((~kept).sum())))
        shown = np.concatenate([order[:first], order[kept.sum() :]])[:PER_GROUP]
        for at in shown.tolist():
            self._show(at)
        concept = int(self.part.concept[label])
        return Group(concept=concept, size=size, kept=int(kept.sum()), rows=self.part.row[shown].tolist())

    def _show(self, at: int, cover: int = -1, cosine: float = 0.0) -> None:
        row = str(int(self.part.row[at]))
        if cover >= 0 or row not in self.rows:
            self.rows[row] = [float(self.scores[at]), int(self.ranks[at]), cover, cosine]


def _last_scores(part: ShardGraph, partition: int, judged: Store | None) -> npt.NDArray[np.float64]:
    """Return the scores of a partition's rows at the last step, float64 (n,), NaN where an earlier step dropped one."""
    scores = np.full(len(part.row), np.nan)
    if judged is not None:
        held = read_collected(judged, partition)
        scores[positions(part.row, np.ascontiguousarray(held["row"]))] = held["score"]
    return scores
