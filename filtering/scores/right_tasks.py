"""The tasks of `right`: a sample of pairs, one task that learns from it, and the probability of every pair."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from filtering.core.uids import Uids, hashed, random_order, sampled
from filtering.embedding.artifacts import unit_rows, widened
from filtering.filters.artifacts import BLOCK_ROWS, PassingShard, VectorReader
from filtering.runtime.records import JsonObject, RowCount, to_plain
from filtering.scores.agreement_tasks import read_means
from filtering.scores.artifacts import RightFigures
from filtering.scores.moments import Float32Array, Float64Array, Int64Array, Moments, moments_of
from filtering.scores.right import (
    Calibration,
    Classifier,
    Sides,
    calibrated,
    cross_fitted,
    features_of,
    term_names,
    trained,
)
from filtering.scores.tasks import write_scores
from filtering.storage.store import Store

# About so many pairs teach the classifier and the moments, whatever the size of the pool.
SAMPLE_ROWS = 65_536
PAIRS_SUFFIX = ".pairs.npz"
PAIRS_NAME = "{}" + PAIRS_SUFFIX
MODEL = "model.npz"
# Of the hashes of uids: which pairs are sampled, the order in which they are shuffled, the two folds.
SAMPLING, SHUFFLING, FOLDING = 0, 1, 2
BINS, HISTOGRAM_BINS, TABLE_POINTS = 10, 40, 25

Float16Array = npt.NDArray[np.float16]
# The sides of n pairs by their names, as `Sides` has them, float16 (n, d) each.
Halves = Mapping[str, Float16Array]
# The sides that belong to a pair's image, not to its caption.
OF_IMAGES = ("images", "captions")


@dataclass(frozen=True, slots=True)
class MeanStores:
    """The folders of both agreements, whose means are read: of like images' captions, and of like captions' images."""

    captions: Store
    pictures: Store | None


@dataclass(frozen=True, slots=True)
class Model:
    """What was learned: the moments of each side by its name, the classifier, and the calibration of its log odds."""

    moments: Mapping[str, Moments]
    classifier: Classifier
    calibration: Calibration

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return it as arrays by name."""
        found = {f"{side}-{name}": array for side, one in self.moments.items() for name, array in _fields(one).items()}
        return found | _fields(self.classifier) | {f"calibration-{k}": v for k, v in _fields(self.calibration).items()}

    @classmethod
    def of(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> "Model":
        """Return the model whose arrays these are."""
        sides = [name.removesuffix("-mean") for name in arrays if name.endswith("-mean")]
        moments = {side: Moments(arrays[f"{side}-mean"], arrays[f"{side}-covariance"]) for side in sides}
        centres, scales, *terms = (arrays[one.name] for one in fields(Classifier))
        classifier = Classifier(centres, scales, terms[0], terms[1], terms[2], float(terms[3]))
        table = (arrays["calibration-logits"], arrays["calibration-shuffled"])
        return cls(moments, classifier, Calibration(float(arrays["calibration-mismatched"]), *table))


def _fields(value: Moments | Classifier | Calibration) -> dict[str, npt.NDArray[Any]]:
    return {one.name: np.asarray(getattr(value, one.name)) for one in fields(value)}


@dataclass(frozen=True, slots=True)
class _ShardSides:
    """All sides of a shard's pairs."""

    rows: Int64Array  # int64 (n,), the rows of the shard that passed the filters
    images: VectorReader
    texts: VectorReader
    means: dict[str, Float16Array]  # of captions and pictures, float16 (n, d) each

    @classmethod
    def of(cls, shard: PassingShard, means: MeanStores) -> "_ShardSides":
        stores = {"captions": means.captions} | ({} if means.pictures is None else {"pictures": means.pictures})
        read = {name: read_means(store, shard.identity) for name, store in stores.items()}
        return cls(shard.rows(), shard.reader(), replace(shard, side="text").reader(), read)

    def at(self, places: Any) -> Halves:
        """Return the sides of some pairs, by their places among `rows`."""
        rows = self.rows[places]
        return {"images": self.images(rows), "texts": self.texts(rows)} | {k: v[places] for k, v in self.means.items()}


def sample_pairs(shard: PassingShard, means: MeanStores, fraction: float, store: Store) -> RowCount:
    """Write all sides of about a fraction of a shard's pairs, which their uids decide."""
    sides = _ShardSides.of(shard, means)
    uids = shard.uids(sides.rows)
    chosen = np.flatnonzero(sampled(uids, fraction, SAMPLING))
    if len(chosen):
        store.write_arrays(PAIRS_NAME.format(shard.identity), {"uid": uids[chosen], **sides.at(chosen)})
    return RowCount(rows=len(chosen))


def learn(names: Sequence[str], store: Store) -> JsonObject:
    """Learn from the sampled pairs what a right pair is; write the model, and return its `RightFigures`."""
    uids, halves = _sampled_pairs(names, store)
    moments = {side: moments_of(_widened(side, vectors)) for side, vectors in halves.items()}
    observed, shuffled = (_features(halves, moments, order) for order in (np.arange(len(uids)), _derangement(uids)))
    held_out = cross_fitted(observed, shuffled, hashed(uids, FOLDING) % 2 == 0)
    model = Model(moments, trained(observed, shuffled), calibrated(*held_out))
    store.write_arrays(MODEL, model.arrays())
    return dict(to_plain(figures_of(*held_out, model.classifier, model.calibration)))


def score_right(shard: PassingShard, means: MeanStores, store: Store) -> RowCount:
    """Write P(right) of each pair of a shard."""
    sides, scores = _ShardSides.of(shard, means), np.full(len(shard.reasons()), np.nan)
    model = Model.of(store.read_arrays(MODEL)) if len(sides.rows) else None
    for start in range(0, len(sides.rows), BLOCK_ROWS):
        block = slice(start, start + BLOCK_ROWS)
        assert model is not None
        features = features_of(_sides(sides.at(block)), model.moments)
        scores[sides.rows[block]] = model.calibration.probabilities(model.classifier.logits(features))
    return write_scores(store, shard.identity, scores)


def score_as_right(shard: PassingShard, store: Store) -> RowCount:
    """Write 1 for each pair of a shard: there are too few pairs to learn from."""
    scores, rows = np.full(len(shard.reasons()), np.nan), shard.rows()
    scores[rows] = 1
    return write_scores(store, shard.identity, scores)


def _sampled_pairs(names: Sequence[str], store: Store) -> tuple[Uids, Halves]:
    """Return the uids of the sampled pairs and all their sides, in the order of the uids."""
    parts = [store.read_arrays(name) for name in names]
    uids = np.concatenate([part.pop("uid") for part in parts])
    # The same model, to the bit, whatever the order of the shards.
    by_uid = np.argsort(uids)
    return uids[by_uid], {side: np.concatenate([part[side] for part in parts])[by_uid] for side in parts[0]}


def _derangement(uids: Uids) -> Int64Array:
    """Return for each pair the place of another one, int64 (n,): the next in a random order."""
    order = random_order(uids, SHUFFLING)
    others = np.empty(len(order), dtype=np.int64)
    others[order] = np.roll(order, -1)
    return others


def _features(halves: Halves, moments: Mapping[str, Moments], captions: Int64Array) -> Float64Array:
    """Return the features of each image with the caption at a place, block by block."""
    parts = list[Float64Array]()
    for start in range(0, len(captions), BLOCK_ROWS):
        block = slice(start, start + BLOCK_ROWS)
        own = {side: vectors[block if side in OF_IMAGES else captions[block]] for side, vectors in halves.items()}
        parts.append(features_of(_sides(own), moments))
    return np.concatenate(parts)


def _sides(halves: Halves) -> Sides:
    wide = {side: _widened(side, vectors) for side, vectors in halves.items()}
    return Sides(wide["images"], wide["texts"], wide["captions"], wide.get("pictures"))


def _widened(side: str, halves: Float16Array) -> Float32Array:
    # Means are shorter than 1, the shorter the less their vectors are alike.
    return unit_rows(halves) if side in ("images", "texts") else widened(halves)


def figures_of(
    observed: Float64Array, shuffled: Float64Array, classifier: Classifier, calibration: Calibration
) -> RightFigures:
    """Return the figures of a model, from the log odds of held-out pairs, float64 (n,) each."""
    both = np.concatenate([observed, shuffled])
    low, high = np.quantile(both, [0.001, 0.999]).tolist()
    edges = np.linspace(low, high, HISTOGRAM_BINS + 1)
    counts = [np.histogram(np.clip(logits, edges[0], edges[-1]), edges)[0].tolist() for logits in (observed, shuffled)]
    predicted = 1 / (1 + np.exp(-np.clip(both, -50, 50)))
    bins, answers = np.minimum((predicted * BINS).astype(int), BINS - 1), np.arange(len(both)) < len(observed)
    sizes = np.bincount(bins, minlength=BINS)
    means = [
        np.bincount(bins, weights=values, minlength=BINS) / np.maximum(sizes, 1) for values in (predicted, answers)
    ]
    points = np.unique(np.quantile(observed, np.linspace(0, 1, TABLE_POINTS)))
    return RightFigures(
        pairs=len(observed),
        mismatched=calibration.mismatched,
        edges=edges.tolist(),
        observed=counts[0],
        shuffled=counts[1],
        predicted=means[0].tolist(),
        share_observed=means[1].tolist(),
        sizes=sizes.tolist(),
        log_odds=points.tolist(),
        probabilities=calibration.probabilities(points).tolist(),
        weights=dict(zip(term_names(len(classifier.centres)), classifier.weights.tolist(), strict=True)),
        constant=classifier.constant,
    )
