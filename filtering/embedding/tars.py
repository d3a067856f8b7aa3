"""Embed one tar: stream, decode, preprocess, embed in batches whose composition depends on the tar alone."""

import queue
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa

from filtering import tables
from filtering.config import Embedding
from filtering.embedding.images import decode_image, first_line
from filtering.embedding.model import ClipModel
from filtering.embedding.objects import QUARANTINE_NAME, ROWS_NAME, VECTORS_NAME, unit_rows, vector_bytes
from filtering.scores.clip_score import clip_scores
from filtering.shards.inventory import Shard
from filtering.shards.samples import Quarantined, Sample, read_samples
from filtering.shards.tar import Fault
from filtering.storage import Store, open_object

Item = TypeVar("Item")
BATCHES_AHEAD = 2


@dataclass(frozen=True, slots=True)
class _Ready:
    """A decoded, preprocessed sample."""

    sample: Sample
    size: tuple[int, int]
    pixels: Any


class TarEmbedder:
    """Embeds whole tars with one model; built once in each Ray actor."""

    def __init__(self, settings: Embedding) -> None:
        self.settings = settings
        self.model = ClipModel(settings)

    def __call__(self, shard: Shard, store_url: str) -> dict[str, int]:
        """Write the shard's rows, vectors and quarantine; return how many of each."""
        rows: list[dict[str, Any]] = []
        vectors: list[tuple[Any, Any]] = []
        quarantined: list[dict[str, Any]] = []
        for batch in _ahead(_batches(self._ready(shard, quarantined), self.settings.batch_size), BATCHES_AHEAD):
            images = self.model.images([ready.pixels for ready in batch]).astype(np.float16)
            texts = self.model.texts([ready.sample.caption for ready in batch]).astype(np.float16)
            finite = np.asarray(np.isfinite(images).all(axis=1) & np.isfinite(texts).all(axis=1))
            for ready in (ready for ready, good in zip(batch, finite, strict=True) if not good):
                fault = Fault("embedding_not_finite", "the model gave NaN or infinity")
                entry = Quarantined(ready.sample.image_member, ready.sample.key, fault)
                quarantined.append(quarantine_row(shard, entry))
            rows += [_row(ready) for ready, good in zip(batch, finite, strict=True) if good]
            vectors.append((images[finite], texts[finite]))
        _write(Store(store_url), shard, rows, vectors, quarantined)
        return {"samples": len(rows) + len(quarantined), "rows": len(rows), "quarantined": len(quarantined)}

    def _ready(self, shard: Shard, quarantined: list[dict[str, Any]]) -> Iterator[_Ready]:
        with open_object(shard.url) as stream:
            for sample in read_samples(stream, shard.name):
                ready = self._decoded(sample) if isinstance(sample, Sample) else sample
                if isinstance(ready, _Ready):
                    yield ready
                else:
                    quarantined.append(quarantine_row(shard, ready))

    def _decoded(self, sample: Sample) -> _Ready | Quarantined:
        image = decode_image(sample.image)
        if isinstance(image, Fault):
            return Quarantined(sample.image_member, sample.key, image)
        try:
            return _Ready(sample, image.size, self.model.prepared(image.image))
        except Exception as error:
            # Preprocessing converts pixels of every mode: what it cannot convert is the sample's fault.
            fault = Fault("image_undecodable", f"cannot be preprocessed: {first_line(error)}")
            return Quarantined(sample.image_member, sample.key, fault)


def quarantine_row(shard: Shard, entry: Quarantined) -> dict[str, Any]:
    """Return a row of `tables.QUARANTINED`."""
    return {
        "shard": shard.url,
        "member": entry.member,
        "key": entry.key,
        "reason": entry.fault.reason,
        "detail": entry.fault.detail,
    }


def _row(ready: _Ready) -> dict[str, Any]:
    sample, (width, height) = ready.sample, ready.size
    return {"uid": sample.uid, "key": sample.key, "caption": sample.caption, "width": width, "height": height}


def _write(
    store: Store,
    shard: Shard,
    rows: list[dict[str, Any]],
    vectors: list[tuple[Any, Any]],
    quarantined: list[dict[str, Any]],
) -> None:
    empty = np.zeros((0, 0), dtype=np.float16)
    images = np.concatenate([pair[0] for pair in vectors]) if vectors else empty
    texts = np.concatenate([pair[1] for pair in vectors]) if vectors else empty
    scores = clip_scores(unit_rows(images), unit_rows(texts))
    numbered = [row | {"source_row": at, "clip_score": scores[at]} for at, row in enumerate(rows)]
    store.write(VECTORS_NAME.format(shard.identity, "image"), vector_bytes(images))
    store.write(VECTORS_NAME.format(shard.identity, "text"), vector_bytes(texts))
    store.write_table(ROWS_NAME.format(shard.identity), pa.Table.from_pylist(numbered, tables.ROWS))
    faults = pa.Table.from_pylist(quarantined, tables.QUARANTINED)
    store.write_table(QUARANTINE_NAME.format(shard.identity), faults)


def _batches(items: Iterable[Item], size: int) -> Iterator[tuple[Item, ...]]:
    left = iter(items)
    while batch := tuple(islice(left, size)):
        yield batch


def _ahead(items: Iterable[Item], depth: int) -> Iterator[Item]:
    """Yield items that a thread prepares up to `depth` ahead; its exception is raised here."""
    ready: queue.Queue[tuple[str, Any]] = queue.Queue(depth)

    def work() -> None:
        try:
            for item in items:
                ready.put(("item", item))
            ready.put(("end", None))
        except BaseException as error:
            ready.put(("error", error))

    threading.Thread(target=work, daemon=True).start()
    while (message := ready.get())[0] == "item":
        yield message[1]
    if message[0] == "error":
        raise message[1]
