"""The decoding operator: a tar in, batches of decoded and tokenised samples out, in the tar's own order."""

import hashlib
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar, cast

import numpy as np
import numpy.typing as npt

from filtering.config.embedding import Embedding
from filtering.core.fields import FIELD
from filtering.core.uid_rule import BY_URL, UidRule
from filtering.core.uids import content_hash
from filtering.embedding.identity import check_same_text_detector
from filtering.embedding.images import Decoded, MaskedPreparation, Preparation, Preparations
from filtering.embedding.signals import Measured, measured
from filtering.shards.faults import Fault
from filtering.shards.inventory import Shard, check_shard
from filtering.shards.offsets import Span
from filtering.shards.samples import Quarantined, Sample, read_samples
from filtering.storage.store import stream_object
from filtering.storage.versions import deletion_refused

Item = TypeVar("Item")
Pixels = npt.NDArray[np.uint8]
# Batches that wait decoded: one to go on with, one on its way. More would only hold more memory.
BATCHES_AHEAD = 2
NO_OTHERS: Preparations = {}


@dataclass(frozen=True, slots=True)
class Description:
    """What is kept of a sample besides its vectors: `width` and `height` as stored, in pixels; `span` in its tar.

    `signals` are those of its picture, and fields of its JSON, that are asked for, by column.
    """

    uid: str
    key: str
    caption: str
    width: int
    height: int
    member: str
    span: Span
    content: int  # `filtering.core.uids.content_hash`
    url: str | None
    sha256: str
    signals: Mapping[str, object] = field(default_factory=dict)


@dataclass(slots=True)
class Batch:
    """Samples ready for the towers, and what was quarantined since the batch before, in the order of the tar.

    Pixels are uint8 (n, height, width, 3), tokens int32 (n, context length); `others` are those of further encoders.
    """

    samples: list[Description] = field(default_factory=list)
    pixels: npt.NDArray[np.uint8] = field(default_factory=lambda: np.empty((0, 0, 0, 3), np.uint8))
    tokens: npt.NDArray[np.int32] = field(default_factory=lambda: np.empty((0, 0), np.int32))
    quarantined: list[Quarantined] = field(default_factory=list)
    others: dict[str, "Prepared"] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A batch as a further encoder takes it, or without its text, as in `Batch`; tokens where captions are read."""

    pixels: npt.NDArray[np.uint8]
    tokens: npt.NDArray[np.int32] | None


def batches(
    shard: Shard,
    preparation: Preparation,
    settings: Embedding,
    uid_rule: UidRule = BY_URL,
    fields: Sequence[str] = (),
    others: Preparations = NO_OTHERS,
) -> Iterator[Batch]:
    """Yield a shard's samples in batches of `settings.batch_size`; their composition depends on the tar alone.

    An image is decoded once, by `preparation`, for the model and for the encoders of `others`.

    Memory: one batch of pixels here, the samples that wait for their members (`samples.WINDOW_BYTES`), and one
    image of at most `max_image_bytes`, decoded to at most `max_pixels`.

    Yields
    ------
    Batch
        Full, but for the last, which may be empty: it holds what was quarantined since the one before.
    """
    check_same_text_detector(settings)
    filling = _Filling(preparation, others, settings)
    with deletion_refused(shard.url), stream_object(shard.url) as stream:
        for entry in read_samples(
            stream, uid_rule.place(shard.url), max_image_bytes=settings.max_image_bytes, fields=fields
        ):
            filling.add(entry)
            if filling.full():
                yield filling.taken()
    # What a whole tar gave is believed only now: it may have been written again meanwhile.
    check_shard(shard)
    yield filling.taken()


def decode(
    preparations: tuple[Preparation, Preparations],
    shard: Shard,
    settings: Embedding,
    uid_rule: UidRule,
    fields: Sequence[str],
) -> Iterator[Batch]:
    """Yield a shard's batches: `batches` with what all shards share in front, for a `RemoteStream`."""
    preparation, others = preparations
    return batches(shard, preparation, settings, uid_rule, fields, others)


class _Filling:
    """The batch that is being filled."""

    def __init__(self, preparation: Preparation, others: Preparations, settings: Embedding) -> None:
        self.preparation, self.others = preparation, others
        self.size, self.signals = settings.batch_size, settings.signals
        self.batch = Batch()
        self.pixels, self.other_pixels = self._rooms()

    def _rooms(self) -> tuple[npt.NDArray[np.uint8], dict[str, npt.NDArray[np.uint8]]]:
        return self._room(self.preparation), {name: self._room(one) for name, one in self.others.items()}

    def _room(self, preparation: Preparation | MaskedPreparation) -> npt.NDArray[np.uint8]:
        taken = preparation.plain if isinstance(preparation, MaskedPreparation) else preparation
        return np.empty((self.size, taken.height, taken.width, 3), np.uint8)

    def full(self) -> bool:
        return len(self.batch.samples) == self.size

    def add(self, entry: Sample | Quarantined) -> None:
        if isinstance(entry, Quarantined):
            self.batch.quarantined.append(entry)
            return
        prepared = self._prepared(entry.image)
        if isinstance(prepared, Fault):
            self.batch.quarantined.append(Quarantined(entry.image_member, entry.key, prepared))
            return
        pixels, others, decoded, signals = prepared
        for name, found in others.items():
            self.other_pixels[name][len(self.batch.samples)] = found
        self.pixels[len(self.batch.samples)] = pixels
        beside = {**signals, **{FIELD.format(name): value for name, value in entry.fields.items()}}
        content, sha256 = content_hash(entry.caption, entry.image), hashlib.sha256(entry.image).hexdigest()
        stands = entry.image_member, entry.span
        self.batch.samples.append(
            Description(entry.uid, entry.key, entry.caption, *decoded.size, *stands, content, entry.url, sha256, beside)
        )

    def _prepared(self, image: bytes) -> tuple[Pixels, dict[str, Pixels], Decoded, Measured] | Fault:
        """Return a picture as the model and each encoder take it, as it was decoded, and its signals."""
        prepared = self.preparation.image(image)
        if isinstance(prepared, Fault):
            return prepared
        pixels, decoded = prepared
        others = dict[str, Pixels]()
        for name, preparation in self.others.items():
            found = preparation.pixels(decoded)
            if isinstance(found, Fault):
                return found
            others[name] = found
        signals = measured(decoded.image, self.signals)
        return signals if isinstance(signals, Fault) else (pixels, others, decoded, signals)

    def taken(self) -> Batch:
        """Return the batch as far as it is filled, and begin the next."""
        batch, count = self.batch, len(self.batch.samples)
        batch.pixels = self.pixels[:count]
        if batch.samples:
            captions = [sample.caption for sample in batch.samples]
            batch.tokens = self.preparation.tokens(captions)
            for name, one in self.others.items():
                reads = isinstance(one, Preparation) and one.tokenizer is not None
                tokens = one.tokens(captions) if isinstance(one, Preparation) and reads else None
                batch.others[name] = Prepared(self.other_pixels[name][:count], tokens)
        self.batch, (self.pixels, self.other_pixels) = Batch(), self._rooms()
        return batch


def ahead(items: Iterable[Item], depth: int) -> Iterator[Item]:
    """Yield items that a thread prepares up to `depth` ahead; its exception is raised here."""
    iterator, end = iter(items), object()
    thread = ThreadPoolExecutor(1)
    try:
        waiting = deque(thread.submit(next, iterator, end) for _ in range(depth))
        while (item := waiting.popleft().result()) is not end:
            waiting.append(thread.submit(next, iterator, end))
            yield cast(Item, item)
    finally:
        thread.shutdown(wait=False, cancel_futures=True)
