"""The tasks of `right`: a sample of pairs, one task that learns from it, and the probability of every pair."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from filtering.core.csr import inverse_order
from filtering.core.uids import Uids, hashed, random_order
from filtering.embedding.artifacts import unit_rows
from filtering.filters.artifacts import PassingShard
from filtering.runtime.records import JsonObject, RowCount, to_plain
from filtering.scores.agreement_tasks import read_sampled_means, sampled_rows
from filtering.scores.artifacts import RightFigures, read_scores
from filtering.scores.centred import Float64Array, Int64Array, centred_cosines
from filtering.scores.centred_tasks import PoolMeans, read_pool_means
from filtering.scores.right import Calibration, Classifier, auc, calibrated, cross_fitted, term_names, trained
from filtering.scores.tasks import write_scores
from filtering.storage.store import Store

PAIRS_SUFFIX = ".pairs.npz"
PAIRS_NAME = "{}" + PAIRS_SUFFIX
MODEL = "model.npz"
# Of the hashes of uids: the order in which pairs are shuffled, the two folds.
SHUFFLING, FOLDING = 1, 2
BINS, HISTOGRAM_BINS, TABLE_POINTS = 10, 40, 25
# Rows whose features are computed at once.
BLOCK_ROWS = 8_192

# All sides of n pairs by their names, (n, d) each: `images` and `texts`, float16; in steps of 2^-15, int16, the mean
# `captions` of like images and, where there is a graph of captions, the mean `pictures` of like captions.
Sides = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Parts:
    """The folders of the scores that are the features; `captions` is None where there is no graph of captions."""

    centred: Store
    images: Store
    captions: Store | None = None

    def stores(self) -> list[Store]:
        """Return those that there are, in the order of the features."""
        return [store for store in (self.centred, self.images, self.captions) if store is not None]


@dataclass(frozen=True, slots=True)
class Model:
    """What was learned: the classifier, and the calibration of its log odds."""

    classifier: Classifier
    calibration: Calibration

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return it as arrays by name."""
        parts: dict[str, Classifier | Calibration] = {"classifier": self.classifier, "calibration": self.calibration}
        return {
            f"{part}-{one.name}": np.asarray(getattr(value, one.name))
            for part, value in parts.items()
            for one in fields(value)
        }

    @classmethod
    def of(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> "Model":
        """Return the model whose arrays these are."""
        centres, scales, middles, *terms = (arrays[f"classifier-{one.name}"] for one in fields(Classifier))
        mismatched, *table = (arrays[f"calibration-{one.name}"] for one in fields(Calibration))
        classifier = Classifier(centres, scales, middles, terms[0], terms[1], terms[2], float(terms[3]))
        return cls(classifier, Calibration(float(mismatched), table[0], table[1]))


def sample_pairs(shard: PassingShard, parts: Parts, fraction: float, store: Store) -> RowCount:
    """Write all sides of about a fraction of a shard's pairs, which their uids decide."""
    rows = shard.rows()
    uids = shard.uids(rows)
    chosen = sampled_rows(uids, fraction)
    if len(chosen):
        sides: dict[str, npt.NDArray[Any]] = {
            "images": shard.vectors(rows[chosen]),
            "texts": replace(shard, side="text").vectors(rows[chosen]),
        }
        sides["captions"] = read_sampled_means(parts.images, shard.identity)
        if parts.captions is not None:
            sides["pictures"] = read_sampled_means(parts.captions, shard.identity)
        store.write_arrays(PAIRS_NAME.format(shard.identity), {"uid": uids[chosen], **sides})
    return RowCount(rows=len(chosen))


def learn(names: Sequence[str], parts: Parts, store: Store) -> JsonObject:
    """Learn from the sampled pairs what a right pair is; write the model, and return its `RightFigures`."""
    uids, sides = _sampled_pairs(names, store)
    means = read_pool_means(parts.centred)
    observed, shuffled = (pair_features(sides, means, order) for order in (np.arange(len(uids)), derangement(uids)))
    held_out = cross_fitted(observed, shuffled, hashed(uids, FOLDING) % 2 == 0)
    model = Model(trained(observed, shuffled), calibrated(*held_out))
    store.write_arrays(MODEL, model.arrays())
    return dict(to_plain(figures_of(*held_out, model)))


def score_right(shard: PassingShard, parts: Parts, store: Store) -> RowCount:
    """Write P(right) of each pair of a shard, from its scores by `parts`."""
    scores, rows = np.full(len(shard.reasons()), np.nan), shard.rows()
    if len(rows):
        model = Model.of(store.read_arrays(MODEL))
        columns = [read_scores(part, shard.identity)[rows].astype(np.float64) for part in parts.stores()]
        features = np.stack(columns, axis=1)
        scores[rows] = model.calibration.probabilities(model.classifier.logits(features))
    return write_scores(store, shard.identity, scores)


def score_as_right(shard: PassingShard, store: Store) -> RowCount:
    """Write 1 for each pair of a shard: there are too few pairs to learn from."""
    scores = np.full(len(shard.reasons()), np.nan)
    scores[shard.rows()] = 1
    return write_scores(store, shard.identity, scores)


def _sampled_pairs(names: Sequence[str], store: Store) -> tuple[Uids, Sides]:
    """Return the uids of the sampled pairs and all their sides, in the order of the uids."""
    parts = [store.read_arrays(name) for name in names]
    uids = np.concatenate([part.pop("uid") for part in parts])
    # The same model, to the bit, whatever the order of the shards.
    by_uid = np.argsort(uids)
    places = inverse_order(by_uid)
    return uids[by_uid], {side: _placed([part.pop(side) for part in parts], places) for side in list(parts[0])}


def _placed(parts: Sequence[npt.NDArray[Any]], places: Int64Array) -> npt.NDArray[Any]:
    """Return the rows of all parts, (n, d), each at its place, int64 (n,): copied once."""
    found = np.empty((len(places), *parts[0].shape[1:]), dtype=parts[0].dtype)
    ends = np.cumsum([len(part) for part in parts])
    for part, at in zip(parts, np.split(places, ends[:-1]), strict=True):
        found[at] = part
    return found


def derangement(uids: Uids) -> Int64Array:
    """Return for each pair the place of another one, int64 (n,): the next in a random order that the uids decide."""
    order = random_order(uids, SHUFFLING)
    others = np.empty(len(order), dtype=np.int64)
    others[order] = np.roll(order, -1)
    return others


def pair_features(sides: Sides, means: PoolMeans, captions: Int64Array) -> Float64Array:
    """Return the features of each image with the caption at a place, int64 (n,): float64 (n, 3), or (n, 2).

    Centred cosines (`centred.centred_cosines`) of image and caption, of the captions of like images and the caption,
    and, where there is a graph of captions, of the image and the images of like captions. What is of the caption's side
    moves with the caption.
    """
    blocks = list[Float64Array]()
    for start in range(0, len(captions), BLOCK_ROWS):
        block = slice(start, start + BLOCK_ROWS)
        image, text = unit_rows(sides["images"][block]), unit_rows(sides["texts"][captions[block]])
        heard = sides["captions"][block]
        columns = [centred_cosines(image, text, *means), centred_cosines(heard, text, means.text, means.text)]
        if "pictures" in sides:
            seen = sides["pictures"][captions[block]]
            columns.append(centred_cosines(seen, image, means.image, means.image))
        blocks.append(np.stack(columns, axis=1))
    # As scores are kept, from which all pairs are judged.
    return np.concatenate(blocks).astype(np.float32).astype(np.float64)


def figures_of(observed: Float64Array, shuffled: Float64Array, model: Model) -> RightFigures:
    """Return the figures of a model, from the log odds of held-out pairs, float64 (n,) each."""
    both = np.concatenate([observed, shuffled])
    low, high = np.quantile(both, [0.001, 0.999]).tolist()
    edges = np.linspace(low, high, HISTOGRAM_BINS + 1)
    counts = [np.histogram(np.clip(logits, low, high), edges)[0].tolist() for logits in (observed, shuffled)]
    predicted = 1 / (1 + np.exp(-np.clip(both, -50, 50)))
    bins, answers = np.minimum((predicted * BINS).astype(int), BINS - 1), np.arange(len(both)) < len(observed)
    sizes = np.bincount(bins, minlength=BINS)
    sums = [np.bincount(bins, weights=values, minlength=BINS) for values in (predicted, answers)]
    means = [(total / np.maximum(sizes, 1)).tolist() for total in sums]
    points = np.unique(np.quantile(observed, np.linspace(0, 1, TABLE_POINTS)))
    classifier, calibration = model.classifier, model.calibration
    return RightFigures(
        pairs=len(observed),
        mismatched=calibration.mismatched,
        edges=edges.tolist(),
        observed=counts[0],
        shuffled=counts[1],
        predicted=means[0],
        share_observed=means[1],
        sizes=sizes.tolist(),
        log_odds=points.tolist(),
        probabilities=calibration.probabilities(points).tolist(),
        weights=dict(zip(term_names(len(classifier.centres)), classifier.weights.tolist(), strict=True)),
        constant=classifier.constant,
        auc=auc(observed, shuffled),
    )
