"""The tasks of `centred_score`: the pool's mean vectors, and the cosine of each pair less what chance gives it."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from filtering.core.clip_score import clip_scores
from filtering.embedding.artifacts import unit_rows
from filtering.filters.artifacts import PassingShard
from filtering.runtime.records import RowCount
from filtering.scores.moments import Float32Array, Float64Array, mean_of, step_sums
from filtering.scores.tasks import write_scores
from filtering.storage.store import Store

SUMS_SUFFIX = ".side-sums.npz"
SUMS_NAME = "{}" + SUMS_SUFFIX
MEANS = "means.npz"


def centred_scores(
    images: Float32Array, texts: Float32Array, image_mean: Float64Array, text_mean: Float64Array
) -> Float64Array:
    """Return cos - (v.m_t + t.m_v) / 2 of each pair, float64 (n,).

    The cosine of image v and caption t, less the mean of what v reaches with a random caption and t with a random image
    of the pool; unit rows, float32 (n, d), and the means of the pool's images and captions, float64 (d,). The closed
    form of what negCLIPLoss (arXiv 2405.19547) samples in batches.
    """
    expected = images @ text_mean + texts @ image_mean
    return clip_scores(images, texts).astype(np.float64) - expected / 2


def write_sums(shard: PassingShard, store: Store) -> RowCount:
    """Write the sums of a shard's image and caption vectors."""
    rows = 0
    sums = dict[str, np.ndarray]()
    for _, images, texts in _pairs(shard):
        for name, vectors in (("images", images), ("texts", texts)):
            found = step_sums(vectors)
            sums[name] = sums[name] + found if name in sums else found
        rows += len(images)
    if rows:
        store.write_arrays(SUMS_NAME.format(shard.identity), dict(sums))
    return RowCount(rows=rows)


def write_means(identities: Sequence[str], rows: int, dimension: int, store: Store) -> None:
    """Write the mean vectors of the pool's images and captions, from the sums of all shards that have rows."""
    found = [store.read_arrays(SUMS_NAME.format(identity)) for identity in identities]
    means = {name: mean_of((part[name] for part in found), rows, dimension) for name in ("images", "texts")}
    store.write_arrays(MEANS, means)


def score_centred(shard: PassingShard, store: Store) -> RowCount:
    """Score the pairs of a shard."""
    means, scores = store.read_arrays(MEANS), np.full(len(shard.reasons()), np.nan)
    for rows, images, texts in _pairs(shard):
        scores[rows] = centred_scores(images, texts, means["images"], means["texts"])
    return write_scores(store, shard.identity, scores)


def _pairs(shard: PassingShard) -> Iterator[tuple[np.ndarray, Float32Array, Float32Array]]:
    """Yield the rows of a shard that passed the filters in blocks, with their unit vectors of both sides."""
    rows = shard.rows()
    sides = (shard, replace(shard, side="text"))
    for (block, images), (_, texts) in zip(*(one.vector_blocks(rows) for one in sides), strict=True):
        yield rows[block], unit_rows(images), unit_rows(texts)
