"""The embedding operator: batches of decoded samples in, a shard's rows and vectors out."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import ray

from filtering.config.run import Embedding
from filtering.embedding.artifacts import TarCounts
from filtering.embedding.decoding import BATCHES_AHEAD, Batch, Description, ahead, batches, decode
from filtering.embedding.model import ClipModel
from filtering.embedding.writer import ShardWriter
from filtering.runtime import metrics
from filtering.shards.inventory import Shard
from filtering.shards.samples import Quarantined
from filtering.shards.tar import Fault
from filtering.storage import retries
from filtering.storage.store import Store

Vectors = npt.NDArray[np.float16]


class TarEmbedder:
    """Embeds whole tars with one model; built once in each Ray actor, called from as many threads as it has decoders.

    Parameters
    ----------
    settings : Embedding
        The `embedding` section of the configuration.
    decoders : int
        How many tars are decoded at once by Ray tasks, on any node, for this embedder; 0 decodes one tar at a time
        in a thread beside the model, which is the better use of a machine whose CPUs also run the model.
    """

    def __init__(self, settings: Embedding, decoders: int = 0) -> None:
        self.settings, self.decoders = settings, decoders
        self.model = ClipModel(settings)
        self.occupancy = Occupancy()
        self.preparation: Any = ray.put(self.model.preparation) if decoders else self.model.preparation

    def __call__(self, shard: Shard, store_url: str) -> TarCounts:
        """Write the shard's rows, vectors and quarantine; return how many of each, why, and what the model waited."""
        group = _Group(self.settings.text_batch_size)
        spent = {"waited_seconds": 0.0, "forward_seconds": 0.0}
        with ShardWriter(Store(store_url), shard) as writer:
            for batch in self._batches(shard):
                for entry in batch.quarantined:
                    writer.refuse(entry)
                if batch.samples:
                    group.add(batch, self._images(batch, spent))
                if group.full():
                    self._write(group.taken(), writer, spent)
            self._write(group.taken(), writer, spent)
            found = writer.commit()
        metrics.samples_embedded(found["rows"])
        metrics.samples_quarantined(found["quarantine_reasons"])
        return TarCounts(
            **found,
            waited_seconds=round(spent["waited_seconds"], 3),
            forward_seconds=round(spent["forward_seconds"], 3),
        )

    def _images(self, batch: Batch, spent: dict[str, float]) -> Vectors:
        pixels = self.model.moved(batch.pixels)
        with self.occupancy.taken(spent) as waited:
            started = time.monotonic()
            images = self.model.images(pixels).astype(np.float16)
        metrics.batch_embedded(len(batch.samples), time.monotonic() - started, waited)
        return images

    def _write(self, group: "_Embedded", writer: ShardWriter, spent: dict[str, float]) -> None:
        """Embed the captions of several batches of images at once, and write what has two finite vectors."""
        if not group.samples:
            return
        with self.occupancy.taken(spent):
            texts = self.model.texts(np.concatenate(group.tokens)).astype(np.float16)
        _write_finite(writer, group.samples, np.concatenate(group.images), texts)

    def _batches(self, shard: Shard) -> Iterator[Batch]:
        if not self.decoders:
            yield from ahead(batches(shard, self.preparation, self.settings), BATCHES_AHEAD)
            return
        # A lost decoder fails this attempt, and the whole shard is taken up again.
        options = {
            "num_cpus": 1,
            "max_retries": 0,
            "num_returns": "streaming",
            "_generator_backpressure_num_objects": BATCHES_AHEAD,
        }
        for reference in ray.remote(decode).options(**options).remote(shard, self.preparation, self.settings):
            batch: Batch = ray.get(reference)
            for name, amount in batch.moved.items():
                retries.count(name, amount)
            yield batch


class Occupancy:
    """Tells how long no thread of an embedder had work for the model: the time it waited for decoding."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.inside = 0
        self.idle_since = time.monotonic()

    @contextmanager
    def taken(self, spent: dict[str, float]) -> Iterator[float]:
        """Count the block as work; yield the seconds the model had waited for it, and add both to `spent`."""
        started = time.monotonic()
        with self.lock:
            waited = 0.0 if self.inside else started - self.idle_since
            self.inside += 1
        try:
            yield waited
        finally:
            ended = time.monotonic()
            with self.lock:
                self.inside -= 1
                self.idle_since = ended
            spent["waited_seconds"] += waited
            spent["forward_seconds"] += ended - started


class _Embedded:
    """Samples whose images are embedded and whose captions are not yet."""

    def __init__(self) -> None:
        self.samples: list[Description] = []
        self.images: list[Vectors] = []
        self.tokens: list[npt.NDArray[np.int32]] = []


class _Group:
    """Gathers batches of images until there are captions for a batch of their own size."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.embedded = _Embedded()

    def add(self, batch: Batch, images: Vectors) -> None:
        self.embedded.samples += batch.samples
        self.embedded.images.append(images)
        # A copy: what Ray hands out lies in its store for as long as anything refers to it.
        self.embedded.tokens.append(batch.tokens.copy())

    def full(self) -> bool:
        return len(self.embedded.samples) >= self.size

    def taken(self) -> _Embedded:
        embedded, self.embedded = self.embedded, _Embedded()
        return embedded


def _write_finite(writer: ShardWriter, samples: Sequence[Description], images: Vectors, texts: Vectors) -> None:
    finite = np.asarray(np.isfinite(images).all(axis=1) & np.isfinite(texts).all(axis=1))
    for sample in (sample for sample, good in zip(samples, finite, strict=True) if not good):
        fault = Fault("embedding_not_finite", "the model gave NaN or infinity")
        writer.refuse(Quarantined(sample.member, sample.key, fault))
    kept = [sample for sample, good in zip(samples, finite, strict=True) if good]
    writer.add(kept, images[finite], texts[finite])
