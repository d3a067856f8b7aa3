"""The tasks of `centred_score`: the pool's mean vectors, and the score of each pair less what chance gives it."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from filtering.config.scores import CentredScore
from filtering.embedding.artifacts import unit_rows
from filtering.filters.artifacts import PassingShard
from filtering.runtime.records import RowCount
from filtering.runtime.sums import added_arrays
from filtering.scores.centred import (
    Float32Array,
    Float64Array,
    Int64Array,
    centred_cosines,
    centred_scores,
    mean_of,
    step_sums,
)
from filtering.scores.tasks import write_scores
from filtering.shards.vectors import SIDES, Side
from filtering.storage.store import Store

SUMS_SUFFIX = ".side-sums.npz"
SUMS_NAME = "{}" + SUMS_SUFFIX
MEANS = "means.npz"
# Rows whose vectors, of both sides, stay in the second-level cache until all is done with them.
HELD_ROWS = 256
FORMS = {"difference": centred_scores, "cosine": centred_cosines}


class PoolMeans(NamedTuple):
    """The mean vectors of the pool's images and captions, float64 (d,) each."""

    image: Float64Array
    text: Float64Array

    def of(self, side: Side) -> Float64Array:
        """Return the mean of one side."""
        return self.image if side == "image" else self.text


def write_sums(shard: PassingShard, store: Store) -> RowCount:
    """Write the sums of a shard's image and caption vectors."""
    rows, sums = 0, list[list[Int64Array]]()
    for _, images, texts in _pairs(shard):
        sums.append([step_sums(images), step_sums(texts)])
        rows += len(images)
    if rows:
        image, text = np.sum(sums, axis=0)
        store.write_arrays(SUMS_NAME.format(shard.identity), {"image": image, "text": text})
    return RowCount(rows=rows)


def add_sums(names: Sequence[str], name: str, store: Store) -> None:
    """Write the sums of some shards' vectors, from their own."""
    store.write_arrays(name, added_arrays(names, SIDES, store))


def write_means(names: Sequence[str], rows: int, dimension: int, store: Store) -> None:
    """Write the mean vectors of the pool's images and captions, from the sums of all shards that have rows."""
    found = [store.read_arrays(name) for name in names]
    store.write_arrays(MEANS, {side: mean_of((part[side] for part in found), rows, dimension) for side in SIDES})


def read_pool_means(store: Store) -> PoolMeans:
    """Return the mean vectors that `write_means` wrote."""
    return PoolMeans(**store.read_arrays(MEANS))


def score_centred(shard: PassingShard, settings: CentredScore, store: Store) -> RowCount:
    """Score the pairs of a shard."""
    means, scores = read_pool_means(store), np.full(len(shard.reasons()), np.nan)
    for rows, images, texts in _pairs(shard):
        scores[rows] = FORMS[settings.form](images, texts, *means)
    return write_scores(store, shard.identity, scores)


def _pairs(shard: PassingShard) -> Iterator[tuple[Int64Array, Float32Array, Float32Array]]:
    """Yield the rows of a shard that passed the filters in blocks, with their unit vectors of both sides."""
    rows = shard.rows()
    sides = (shard, replace(shard, side="text"))
    for (block, images), (_, texts) in zip(*(one.vector_blocks(rows) for one in sides), strict=True):
        for start in range(0, len(images), HELD_ROWS):
            part = slice(start, start + HELD_ROWS)
            yield rows[block][part], unit_rows(images[part]), unit_rows(texts[part])
