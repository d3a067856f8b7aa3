"""The embedding operator: batches of decoded samples in, a shard's rows and vectors out."""

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt

from filtering.config.embedding import Embedding
from filtering.core.fields import MASKED, MASKED_SIGNAL
from filtering.core.schemas import beside_rows
from filtering.core.uid_rule import BY_URL, UidRule
from filtering.embedding.artifacts import TarCounts
from filtering.embedding.decoding import BATCHES_AHEAD, Batch, Description, Pixels, ahead, decode
from filtering.embedding.encoders import encoder_settings, of_encoder
from filtering.embedding.images import MaskedPreparation, Preparation, Preparations, of_one_decode
from filtering.embedding.model import ClipModel
from filtering.embedding.writer import ShardWriter
from filtering.runtime import metrics
from filtering.shards.faults import Fault
from filtering.shards.inventory import Shard
from filtering.shards.samples import Quarantined
from filtering.storage.store import Store

Vectors = npt.NDArray[np.float16]
Decoder = Callable[[Shard, Embedding, UidRule, Sequence[str]], Iterator[Batch]]


class TarEmbedder:
    """Embeds whole tars with one model; built once in each worker, called from as many threads as it has decoders.

    Processes of their own, on any node, decode `decoders` tars at once for this embedder. With 0, one tar at a time is
    decoded in a thread beside the model, which is better where the same CPUs also run the model.
    """

    def __init__(
        self, settings: Embedding, decoders: int = 0, uid_rule: UidRule = BY_URL, fields: Sequence[str] = ()
    ) -> None:
        self.settings, self.uid_rule, self.fields = settings, uid_rule, fields
        self.model, self.encoders = ClipModel(settings), further_encoders(settings)
        self.occupancy = Occupancy()
        of_encoders = {name: encoder.preparation for name, encoder in self.encoders.items()}
        main, self.masked = of_one_decode(self.model.preparation, of_encoders), MASKED_SIGNAL in settings.signals
        others: Preparations = {**of_encoders, **({MASKED: MaskedPreparation(main)} if self.masked else {})}
        self._batches = _decoder(main, others, decoders > 0)

    def __call__(self, shard: Shard, store: Store) -> TarCounts:
        """Write the shard's rows, vectors and quarantine; return how many of each, why, and what the model waited."""
        waiting = _Waiting(self.settings.text_batch_size)
        spent = {"waited_seconds": 0.0, "forward_seconds": 0.0}
        scored = [name for name, one in self.encoders.items() if one.has_texts]
        beside = beside_rows(self.settings.signals, self.fields, scored)
        with ShardWriter(store, shard, beside, list(self.encoders)) as writer:
            for batch in self._batches(shard, self.settings, self.uid_rule, self.fields):
                for entry in batch.quarantined:
                    writer.refuse(entry)
                if batch.samples:
                    waiting.add(batch, *self._images(batch, spent))
                if waiting.full():
                    self._write(waiting, writer, spent)
                    waiting = _Waiting(self.settings.text_batch_size)
            self._write(waiting, writer, spent)
            found = writer.commit()
        metrics.samples_embedded(found["rows"])
        metrics.samples_quarantined(found["quarantine_reasons"])
        return TarCounts(
            **found,
            dimension=writer.images.shape[1],
            of_concepts=0,
            waited_seconds=round(spent["waited_seconds"], 3),
            forward_seconds=round(spent["forward_seconds"], 3),
            model_warnings=[line for one in (self.model, *self.encoders.values()) for line in one.warnings],
        )

    def _images(self, batch: Batch, spent: dict[str, float]) -> tuple[Vectors, dict[str, Vectors]]:
        """Return the image vectors of a batch, and those of further encoders."""
        pixels = self.model.moved(batch.pixels)
        others = {name: (self.encoders[name], one.pixels) for name, one in batch.others.items() if name != MASKED}
        with self.occupancy.taken(spent) as waited:
            started = time.monotonic()
            images = self.model.images(pixels).astype(np.float16)
            found = {name: one.images(one.moved(its)).astype(np.float16) for name, (one, its) in others.items()}
            if self.masked:
                found[MASKED] = self._masked(batch.pixels, batch.others[MASKED].pixels, images)
        metrics.batch_embedded(len(batch.samples), time.monotonic() - started, waited)
        return images, found

    def _masked(self, plain: Pixels, masked: Pixels, images: Vectors) -> Vectors:
        """Return the vectors of pictures without their text: those of the pictures where they have none."""
        found, changed = images.copy(), np.flatnonzero((plain != masked).any(axis=(1, 2, 3)))
        if len(changed):
            found[changed] = self.model.images(self.model.moved(masked[changed])).astype(np.float16)
        return found

    def _write(self, waiting: "_Waiting", writer: ShardWriter, spent: dict[str, float]) -> None:
        """Embed the captions of several batches of images at once, and write what has finite vectors."""
        if not waiting.samples:
            return
        with self.occupancy.taken(spent):
            texts = {"": self.model.texts(np.concatenate(waiting.tokens[""])).astype(np.float16)}
            for name, encoder in self.encoders.items():
                if encoder.has_texts:
                    texts[name] = encoder.texts(np.concatenate(waiting.tokens[name])).astype(np.float16)
            if self.masked:
                texts[MASKED] = texts[""]
        images = {name: np.concatenate(several) for name, several in waiting.images.items()}
        _write_finite(writer, waiting.samples, images, texts)


def further_encoders(settings: Embedding) -> dict[str, ClipModel]:
    """Load the encoders besides the main model, by their names."""
    found = dict[str, ClipModel]()
    for name in sorted(settings.encoders):
        with of_encoder(name):
            found[name] = ClipModel(encoder_settings(settings, name))
    return found


def _decoder(preparation: Preparation, others: Preparations, remote: bool) -> Decoder:
    """Return what decodes a shard into batches: in processes of its own, or in a thread beside the model."""
    if not remote:
        return lambda shard, *given: ahead(decode((preparation, others), shard, *given), BATCHES_AHEAD)
    # Ray takes seconds to import, and a run in one process does without it.
    from filtering.runtime.remote_stream import RemoteStream

    # A lost decoder fails the attempt at the shard, which is then embedded again from its start.
    return RemoteStream(decode, (preparation, others), BATCHES_AHEAD)


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


class _Waiting:
    """Samples whose images are embedded, until there are captions for a batch of their own size.

    Images and tokens are by encoder, those of the main model under no name.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.samples: list[Description] = []
        self.images = defaultdict[str, list[Vectors]](list)
        self.tokens = defaultdict[str, list[npt.NDArray[np.int32]]](list)

    def add(self, batch: Batch, images: Vectors, others: Mapping[str, Vectors]) -> None:
        self.samples += batch.samples
        for name, vectors in {"": images, **others}.items():
            self.images[name].append(vectors)
        for name, tokens in {"": batch.tokens, **{name: one.tokens for name, one in batch.others.items()}}.items():
            if tokens is not None:
                # A copy: what Ray hands out lies in its store for as long as anything refers to it.
                self.tokens[name].append(tokens.copy())

    def full(self) -> bool:
        return len(self.samples) >= self.size


def _write_finite(
    writer: ShardWriter, samples: Sequence[Description], images: dict[str, Vectors], texts: dict[str, Vectors]
) -> None:
    each = [np.isfinite(vectors).all(axis=1) for vectors in (*images.values(), *texts.values())]
    finite = np.asarray(np.logical_and.reduce(each))
    for sample in (sample for sample, good in zip(samples, finite, strict=True) if not good):
        fault = Fault("embedding_not_finite", "the model gave NaN or infinity")
        writer.refuse(Quarantined(sample.member, sample.key, fault))
    kept = [sample for sample, good in zip(samples, finite, strict=True) if good]
    vectors, captions = ({name: of[finite] for name, of in given.items()} for given in (images, texts))
    writer.add(kept, vectors.pop(""), captions.pop(""), vectors, captions)
