"""The learning complexity operator: a tar read again, its passing samples through all capacities of the tower."""

from collections import defaultdict
from collections.abc import Iterator
from typing import TypedDict

import numpy as np
import numpy.typing as npt

from filtering.concepts.artifacts import read_homes
from filtering.config.embedding import Embedding
from filtering.config.scores import Dlc
from filtering.core.errors import RunError
from filtering.core.uid_rule import BY_URL, UidRule
from filtering.embedding.decoding import BATCHES_AHEAD, Batch, ahead, batches
from filtering.embedding.model import ClipModel
from filtering.filters.artifacts import PassingShard
from filtering.scores.artifacts import SCORES_NAME
from filtering.scores.dlc import PROTOTYPES, Complexity, candidate_prototypes, capacities
from filtering.scores.masked_tower import MaskedTower
from filtering.storage.store import Store

# Prototypes beside its own that a sample is compared with, so that a pool may have millions of concepts.
CANDIDATES = 64
NOT_WANTED = -1

Rows = npt.NDArray[np.int64]
Pixels = npt.NDArray[np.uint8]


class ScoredRows(TypedDict):
    """The result of scoring a tar: its rows, and those that have a score."""

    rows: int
    scored: int


class DlcScorer:
    """Scores tars by learning complexity (arXiv 2402.05356); built once in each Ray actor, called from one thread.

    A sample's features are the unit-norm image embeddings that the masked tower gives, its classes the concepts. It is
    compared with its own concept's prototype and the 64 nearest to the embedding of the whole tower. Features that are
    not finite, which a tower of few weights may give in half precision, count as 0.
    """

    def __init__(self, embedding: Embedding, dlc: Dlc, uid_rule: UidRule = BY_URL) -> None:
        self.settings, self.model, self.uid_rule = embedding, ClipModel(embedding), uid_rule
        seed = dlc.seed if dlc.schedule == "random" else None
        self.tower = MaskedTower(self.model.model.visual, capacities(dlc.masks, dlc.schedule), seed)
        self.known: tuple[Store, npt.NDArray[np.float32]] | None = None

    def __call__(self, shard: PassingShard, concepts: Store, store: Store) -> ScoredRows:
        """Write the score of every row of a tar, float32, NaN where the row does not go on.

        `store` holds the prototypes, PROTOTYPES with "vectors", float32 (C, d), and receives the scores. RunError if a
        row's sample is not in the tar any more.
        """
        wanted = _Wanted(shard, *read_homes(concepts, shard))
        scores = np.full(wanted.total, np.nan, dtype=np.float32)
        prototypes = self._prototypes(store)
        settings = self.settings.model_copy(update={"signals": ()})
        read = batches(shard.embedded.shard, self.model.preparation, settings, self.uid_rule)
        for rows, pixels in _regrouped(map(wanted.found, ahead(read, BATCHES_AHEAD)), self.settings.batch_size):
            scores[rows] = self._scores(pixels, wanted.labels[rows], prototypes)
        wanted.check_all_found()
        store.write_arrays(SCORES_NAME.format(shard.identity), {"score": scores})
        return ScoredRows(rows=len(scores), scored=int(np.isfinite(scores).sum()))

    def _scores(
        self, pixels: Pixels, labels: npt.NDArray[np.int32], prototypes: npt.NDArray[np.float32]
    ) -> npt.NDArray[np.float32]:
        moved = self.model.moved(pixels)
        complexity: Complexity | None = None
        with self.tower.masking() as evaluations:
            for _ in evaluations:
                features = np.nan_to_num(self.model.images(moved), posinf=0.0, neginf=0.0)
                if complexity is None:
                    candidates = candidate_prototypes(features, prototypes, labels, CANDIDATES)
                    complexity = Complexity(prototypes, labels, candidates)
                complexity.add(features)
        return complexity.scores() if complexity else np.zeros(len(labels), dtype=np.float32)

    def _prototypes(self, store: Store) -> npt.NDArray[np.float32]:
        # Gigabytes where there are millions of concepts, and the same for every shard.
        if self.known is None or self.known[0] != store:
            self.known = (store, store.read_arrays(PROTOTYPES)["vectors"])
        return self.known[1]


class _Wanted:
    """The rows of a shard that go on, to be found again in its tar by key and uid."""

    def __init__(self, shard: PassingShard, passing: npt.NDArray[np.int32], concepts: npt.NDArray[np.int32]) -> None:
        table = shard.embedded.rows(["uid", "key"])
        self.shard, self.total = shard, len(table)
        self.labels = np.full(self.total, NOT_WANTED, dtype=np.int32)
        self.labels[passing] = concepts
        # Last row first: equal names are taken from the end of the list, in the order of the tar.
        self.places: dict[tuple[str, str], list[int]] = defaultdict(list)
        self.names = list(zip(table["uid"].to_pylist(), table["key"].to_pylist(), strict=True))
        for row in reversed(range(self.total)):
            self.places[self.names[row]].append(row)

    def found(self, batch: Batch) -> tuple[Rows, Pixels]:
        """Return the rows of a batch that go on, and their pixels; other samples are left out."""
        rows = np.array([self._row(sample.uid, sample.key) for sample in batch.samples], dtype=np.int64)
        chosen = rows != NOT_WANTED
        return rows[chosen], batch.pixels[chosen]

    def check_all_found(self) -> None:
        """Refuse a tar that lacks a sample that goes on."""
        lost = [row for rows in self.places.values() for row in rows if self.labels[row] != NOT_WANTED]
        if lost:
            url, (_, key) = self.shard.embedded.shard.url, self.names[min(lost)]
            raise RunError(f"{url}: sample {key} is not in it any more; start the run again with the tar as it is")

    def _row(self, uid: str, key: str) -> int:
        rows = self.places.get((uid, key))
        if not rows:
            return NOT_WANTED
        row = rows.pop()
        return row if self.labels[row] != NOT_WANTED else NOT_WANTED


def _regrouped(parts: Iterator[tuple[Rows, Pixels]], size: int) -> Iterator[tuple[Rows, Pixels]]:
    """Yield batches of `size` rows or more, the last one excepted: masking costs the same for few rows."""
    waiting: list[tuple[Rows, Pixels]] = []
    for part in parts:
        if len(part[0]):
            waiting.append(part)
        if sum(len(rows) for rows, _ in waiting) >= size:
            yield _joined(waiting)
            waiting = []
    if waiting:
        yield _joined(waiting)


def _joined(parts: list[tuple[Rows, Pixels]]) -> tuple[Rows, Pixels]:
    rows, pixels = zip(*parts, strict=True)
    return np.concatenate(rows), np.concatenate(pixels)
