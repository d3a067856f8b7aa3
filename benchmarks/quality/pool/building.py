"""Writes the pool as webdataset shards, its truth, and the pairs kept apart: the filtering model's and both tests'."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from benchmarks.quality.pool.captions import CLASSES, boilerplate, clothes_caption, emoji_caption
from benchmarks.quality.pool.defects import jpeg, near_duplicate, noise
from benchmarks.quality.pool.plan import Kind, Plan, planned
from benchmarks.quality.pool.sources import (
    MODEL_PART,
    POOL_PART,
    SIDE,
    VALIDATION_PART,
    Clothes,
    Emoji,
    Int64,
    Uint8,
    clothes,
    colour,
    drawing,
    emoji,
)
from filtering.demo.openmoji import Picture
from filtering.shards.writer import ShardSample, write_shard

SHARDS, SHARD_CAPACITY = 8, 10_000
DRAWINGS_KNOWN, DRAWINGS_TEST = 6, 2
# Streams of random numbers: parts drawn with different ones share no drawing.
POOL, MODEL, VALIDATION, TEST = 3, 4, 5, 6
Drawn = dict[str, Image.Image]


@dataclass(frozen=True, slots=True)
class Sources:
    """The pictures that all parts are cut from."""

    train: Clothes
    test: Clothes
    emoji: Emoji
    drawn: Drawn


def build(folder: Path, fashion_mnist: Path, scale: float = 1.0, seed: int = 0) -> None:
    """Write `pool/`, `truth.parquet`, `model.npz`, `validation.npz` and `test.npz`, unless they are there."""
    if (folder / "test.npz").exists():
        return
    train, test = clothes(fashion_mnist, "train"), clothes(fashion_mnist, "t10k")
    sources = Sources(train, test, emoji(seed, scale), {})
    _write_pool(folder, sources, planned(len(CLASSES), len(sources.emoji.pool), seed, scale), seed)
    _write_model_pairs(folder / "model.npz", sources, seed)
    _write_test(folder / "validation.npz", train.part(VALIDATION_PART), sources, sources.emoji.validation, VALIDATION)
    _write_test(folder / "test.npz", test, sources, sources.emoji.test, TEST)


def _write_pool(folder: Path, sources: Sources, plan: Plan, seed: int) -> None:
    random = np.random.default_rng((seed, POOL))
    names = [names[0] for names in CLASSES] + [picture.caption for picture in sources.emoji.pool]
    samples = list(_samples(plan, sources, names, random))
    order = random.permutation(len(samples))
    shard_of = np.empty(len(samples), dtype=np.int64)
    for shard, rows in enumerate(np.array_split(order, SHARDS)):
        shard_of[rows] = shard
        write_shard(folder / "pool", shard, [_sample(samples[row], shard, at) for at, row in enumerate(rows.tolist())])
    captions = [caption for _, _, caption in samples]
    pq.write_table(_truth(plan, shard_of, names, captions), folder / "truth.parquet")


def _truth(plan: Plan, shard_of: Int64, names: Sequence[str], captions: Sequence[str]) -> pa.Table:
    columns = {
        "uid": [_uid(row) for row in range(len(captions))],
        "shard": shard_of,
        "kind": [str(kind) for kind in plan.kind],
        "concept": [names[at] for at in plan.concept],
        "clothes": plan.concept < len(CLASSES),
        "original": plan.original,
        "caption": captions,
    }
    return pa.table(columns)


def _samples(
    plan: Plan, sources: Sources, names: Sequence[str], random: np.random.Generator
) -> Iterator[tuple[int, bytes, str]]:
    rows = sources.train.part(POOL_PART)
    by_class = [np.flatnonzero(rows.labels == label) for label in range(len(CLASSES))]
    pictures: dict[tuple[int, int], Uint8] = {}
    pairs = zip(plan.concept.tolist(), plan.original.tolist(), plan.kind, plan.caption.tolist(), strict=True)
    for row, (concept, original, kind, caption) in enumerate(pairs):
        if concept < len(CLASSES):
            pixels = colour(rows.pixels[by_class[concept][original]])
        else:
            # A near-duplicate is made of the very drawing that another pair shows.
            if (concept, original) not in pictures:
                picture = sources.emoji.pool[concept - len(CLASSES)]
                pictures[concept, original] = drawing(picture, random, sources.drawn)
            pixels = pictures[concept, original]
        yield row, _image(kind, pixels, random), _caption(kind, caption, names, random)


def _image(kind: Kind, pixels: Uint8, random: np.random.Generator) -> bytes:
    if kind is Kind.NOISE:
        return jpeg(noise(SIDE, random))
    return near_duplicate(pixels, random) if kind is Kind.NEAR_DUPLICATE else jpeg(pixels)


def _caption(kind: Kind, concept: int, names: Sequence[str], random: np.random.Generator) -> str:
    if kind is Kind.BOILERPLATE:
        return boilerplate(random)
    return clothes_caption(concept, random) if concept < len(CLASSES) else emoji_caption(names[concept], random)


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


def _drawings(pictures: Sequence[Picture], each: int, random: np.random.Generator, drawn: Drawn) -> Uint8:
    return np.stack([drawing(picture, random, drawn) for picture in pictures for _ in range(each)])


def _write_model_pairs(path: Path, sources: Sources, seed: int) -> None:
    """Write clean pairs, all classes and all concepts equally often."""
    random, rows = np.random.default_rng((seed, MODEL)), sources.train.part(MODEL_PART)
    known = sources.emoji.known
    images = [colour(rows.pixels), _drawings(known, DRAWINGS_KNOWN, random, sources.drawn)]
    names = [picture.caption for picture in known for _ in range(DRAWINGS_KNOWN)]
    # Classes as numbers, concepts by name: captions are drawn anew for every epoch.
    np.savez(path, images=np.concatenate(images), labels=rows.labels, names=np.array(names))


def _write_test(path: Path, rows: Clothes, sources: Sources, gallery: Sequence[Picture], stream: int) -> None:
    random, unseen = np.random.default_rng((0, stream)), sources.emoji.unseen
    half = unseen[::2] if stream == VALIDATION else unseen[1::2]
    np.savez(
        path,
        clothes=rows.pixels,
        labels=rows.labels,
        gallery=_drawings(gallery, DRAWINGS_TEST, random, sources.drawn),
        names=np.array([picture.caption for picture in gallery]),
        unseen=_drawings(half, 1, random, sources.drawn),
        unseen_names=np.array([picture.caption for picture in half]),
    )
