"""Writes the pool as webdataset shards, its truth, and the pairs kept apart: the filtering model's and both tests'."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.quality.pool.captions import Vocabulary, boilerplate
from benchmarks.quality.pool.defects import jpeg, near_duplicate, noise
from benchmarks.quality.pool.plan import SHARED_WRONG, Kind, Plan, planned
from benchmarks.quality.pool.settings import BASE, PoolSettings
from benchmarks.quality.pool.sources import (
    MODEL_PART,
    POOL_PART,
    SIDE,
    VALIDATION_PART,
    Classes,
    Concept,
    Folders,
    Int64,
    Sources,
    Uint8,
    colour,
    drawing,
    sources,
)
from filtering.shards.writer import ShardSample, write_shard

SHARDS, SHARD_CAPACITY = 8, 10_000
DRAWINGS_KNOWN, DRAWINGS_TEST = 6, 2
# Streams of random numbers: parts drawn with different ones share no drawing.
POOL, MODEL, VALIDATION, TEST = 3, 4, 5, 6


def is_built(folder: Path) -> bool:
    """Say whether a folder has a whole pool."""
    return (folder / "test.npz").exists()


def build(folder: Path, folders: Folders, settings: PoolSettings = BASE, scale: float = 1.0, seed: int = 0) -> None:
    """Write `pool/`, `truth.parquet`, `model.npz`, `validation.npz` and `test.npz`, unless they are there."""
    if is_built(folder):
        return
    found = sources(settings.pictures, folders, seed, scale)
    concepts, classes = found.concepts, len(found.vocabulary.classes)
    _write_pool(folder, found, planned(classes, len(concepts.pool), seed, scale, settings), seed)
    _write_model_pairs(folder / "model.npz", found, seed)
    _write_test(folder / "validation.npz", found.train.part(VALIDATION_PART), found, concepts.validation, VALIDATION)
    # Last: it says that all of them are there.
    _write_test(folder / "test.npz", found.test, found, concepts.test, TEST)


def _write_pool(folder: Path, sources: Sources, plan: Plan, seed: int) -> None:
    random, classes = np.random.default_rng((seed, POOL)), sources.vocabulary.classes
    names = [names[0] for names in classes] + [concept.name for concept in sources.concepts.pool]
    samples = list(_samples(plan, sources, _Captions(sources.vocabulary, names, random), random))
    order = random.permutation(len(samples))
    shard_of = np.empty(len(samples), dtype=np.int64)
    for shard, rows in enumerate(np.array_split(order, SHARDS)):
        shard_of[rows] = shard
        write_shard(folder / "pool", shard, [_sample(samples[row], shard, at) for at, row in enumerate(rows.tolist())])
    captions = [caption for _, _, caption in samples]
    pq.write_table(_truth(plan, shard_of, names, captions, len(classes)), folder / "truth.parquet")


def _truth(plan: Plan, shard_of: Int64, names: Sequence[str], captions: Sequence[str], classes: int) -> pa.Table:
    columns = {
        "uid": [_uid(row) for row in range(len(captions))],
        "shard": shard_of,
        "kind": [str(kind) for kind in plan.kind],
        "concept": [names[at] for at in plan.concept],
        "clothes": plan.concept < classes,
        "original": plan.original,
        "caption": captions,
    }
    return pa.table(columns)


def _samples(
    plan: Plan, sources: Sources, captions: "_Captions", random: np.random.Generator
) -> Iterator[tuple[int, bytes, str]]:
    rows, classes = sources.train.part(POOL_PART), len(sources.vocabulary.classes)
    by_class = [np.flatnonzero(rows.labels == label) for label in range(classes)]
    pictures: dict[tuple[int, int], Uint8] = {}
    pairs = zip(plan.concept.tolist(), plan.original.tolist(), plan.kind, plan.caption.tolist(), strict=True)
    for row, (concept, original, kind, caption) in enumerate(pairs):
        if concept < classes:
            pixels = colour(rows.pixels[by_class[concept][original]])
        else:
            # A near-duplicate is made of the very drawing that another pair shows.
            if (concept, original) not in pictures:
                chosen = sources.concepts.pool[concept - classes]
                pictures[concept, original] = drawing(chosen, random, sources.drawn)
            pixels = pictures[concept, original]
        yield row, _image(kind, pixels, random), captions.drawn(kind, caption, (concept, original))


def _image(kind: Kind, pixels: Uint8, random: np.random.Generator) -> bytes:
    if kind is Kind.NOISE:
        return jpeg(noise(SIDE, random))
    is_copy = kind is Kind.NEAR_DUPLICATE or kind in SHARED_WRONG
    return near_duplicate(pixels, random) if is_copy else jpeg(pixels)


@dataclass(frozen=True, slots=True)
class _Captions:
    """Draws captions; those that a group of near-duplicates repeats are drawn once."""

    vocabulary: Vocabulary
    names: Sequence[str]
    random: np.random.Generator
    repeated: dict[tuple[int, int], str] = field(default_factory=dict)

    def drawn(self, kind: Kind, concept: int, group: tuple[int, int]) -> str:
        if kind is Kind.BOILERPLATE:
            return boilerplate(self.random)
        if kind is not Kind.REPEATED_WRONG:
            return self._worded(concept)
        if group not in self.repeated:
            self.repeated[group] = self._worded(concept)
        return self.repeated[group]

    def _worded(self, concept: int) -> str:
        if concept < len(self.vocabulary.classes):
            return self.vocabulary.class_caption(concept, self.random)
        return self.vocabulary.concept_caption(self.names[concept], self.random)


def _uid(row: int) -> str:
    return hashlib.blake2b(str(row).encode(), digest_size=16, person=b"own datacomp").hexdigest()


def _sample(pair: tuple[int, bytes, str], shard: int, at: int) -> ShardSample:
    row, image, caption = pair
    uid, key = _uid(row), f"{shard * SHARD_CAPACITY + at:012d}"
    metadata = {
        "uid": uid,
        "caption": caption,
        "url": f"https://pictures.example/{uid}.jpg",
        "key": key,
        "status": "success",
        **dict.fromkeys(("width", "height", "original_width", "original_height"), SIDE),
        "exif": "{}",
        "sha256": hashlib.sha256(image).hexdigest(),
    }
    return ShardSample(key, image, caption.encode(), metadata)


def _drawings(chosen: Sequence[Concept], each: int, random: np.random.Generator, sources: Sources) -> Uint8:
    return np.stack([drawing(concept, random, sources.drawn) for concept in chosen for _ in range(each)])


def _write_model_pairs(path: Path, sources: Sources, seed: int) -> None:
    """Write clean pairs, all classes and all concepts equally often."""
    random, rows = np.random.default_rng((seed, MODEL)), sources.train.part(MODEL_PART)
    known = sources.concepts.known
    images = [colour(rows.pixels), _drawings(known, DRAWINGS_KNOWN, random, sources)]
    names = [concept.name for concept in known for _ in range(DRAWINGS_KNOWN)]
    # Classes as numbers, concepts by name: captions are drawn anew for every epoch.
    np.savez(path, images=np.concatenate(images), labels=rows.labels, names=np.array(names))


def _write_test(path: Path, rows: Classes, sources: Sources, gallery: Sequence[Concept], stream: int) -> None:
    random, unseen = np.random.default_rng((0, stream)), sources.concepts.unseen
    half = unseen[::2] if stream == VALIDATION else unseen[1::2]
    part = path.with_suffix(".part.npz")
    np.savez(
        part,
        clothes=rows.pixels,
        labels=rows.labels,
        gallery=_drawings(gallery, DRAWINGS_TEST, random, sources),
        names=np.array([concept.name for concept in gallery]),
        unseen=_drawings(half, 1, random, sources),
        unseen_names=np.array([concept.name for concept in half]),
    )
    part.replace(path)
