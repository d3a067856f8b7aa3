"""What it takes to decode and embed a sample: the first ones of a pool, on one thread of this machine."""

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from filtering.config.run import Config
from filtering.core.clip_score import clip_scores
from filtering.core.errors import InputError
from filtering.core.fields import FIELD, MASKED_SIGNAL
from filtering.core.schemas import beside_rows
from filtering.embedding.artifacts import half_rows, unit_rows
from filtering.embedding.signals import Measured, measured
from filtering.filters.sampling import SampledRows, reads_vectors
from filtering.runtime.worker import peak_memory_bytes, reset_peak_memory
from filtering.shards.faults import Fault
from filtering.shards.inventory import Shard
from filtering.shards.samples import Quarantined, Sample, read_samples
from filtering.storage.store import stream_object
from filtering.storage.versions import deletion_refused

if TYPE_CHECKING:
    from filtering.embedding.images import Decoded
    from filtering.embedding.model import ClipModel

PROBE_SHARDS = 2
# Samples that are decoded; those of them that are embedded on a CPU take so many seconds, and are at least so many: the
# memory of one cannot be told from what the first call loads.
PROBE_SAMPLES = 64
EMBEDDED_SECONDS, LEAST_EMBEDDED = 2.0, 4
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Probe:
    """Measurements on the first samples, on one thread."""

    dimension: int  # of the vectors of concepts
    samples: int = 0  # how many were embedded; 0 where nothing is
    decode_seconds: float = 0.0  # from bytes to what the towers take, reading apart; 0 where nothing is embedded
    forward_seconds: float = 0.0  # both towers, on `device`
    device: str = ""  # cpu or cuda; empty where nothing is embedded
    model_bytes: int = 0  # the weights
    # image_forward_bytes, text_forward_bytes: what the towers need while they compute, for one image or caption
    image_forward_bytes: int = 0
    text_forward_bytes: int = 0
    # width, height: pixels of the image that the model takes
    width: int = 0
    height: int = 0
    further_pixels: int = 0  # of the images that further encoders take
    vector_bytes: int = 0  # what a row's vectors take on a disk; 0 where nothing is embedded

    @property
    def seconds_per_row(self) -> float:
        """Seconds of one thread for a sample."""
        return self.decode_seconds + self.forward_seconds


def probed(config: Config, shards: Sequence[Shard]) -> tuple[Probe, SampledRows]:
    """Decode and embed the pool's first samples on one thread of this machine, on its GPU if it has one."""
    import torch

    from filtering.embedding.images import of_one_decode
    from filtering.embedding.model import ClipModel
    from filtering.embedding.tars import further_encoders

    here = config.embedding.device if torch.cuda.is_available() else "cpu"
    settings = config.embedding.model_copy(update={"device": here})
    model, others = ClipModel(settings), further_encoders(settings)
    preparation = of_one_decode(model.preparation, {name: one.preparation for name, one in others.items()})
    samples = _first_samples(shards, config.input.fields)
    started = time.perf_counter()
    prepared = [(preparation.image(sample.image), sample) for sample in samples]
    each = [(*image, sample) for image, sample in prepared if isinstance(image, tuple)]
    signals = [measured(image.image, config.embedding.signals) for _, image, _ in each]
    usable = [one for one, found in zip(each, signals, strict=True) if not isinstance(found, Fault)]
    if not usable:
        raise InputError(f"plan: the first shards hold no sample that can be embedded, {shards[0].url} for one")
    captions = [sample.caption for _, _, sample in usable]
    covered = _share_with_text(config, model, usable)
    tokens = model.preparation.tokens(captions)
    decoded = time.perf_counter()
    pixels = np.stack([pixels for pixels, _, _ in usable])
    every = model.device != "cpu" or any(map(reads_vectors, config.filters))
    forward = _forwards(model, pixels, tokens, every)
    vectors = (forward.images, forward.texts) if forward.samples == len(usable) else None
    probe = Probe(
        dimension=forward.images.shape[1],
        samples=forward.samples,
        decode_seconds=(decoded - started) / len(usable),
        # Pictures that have text are embedded a second time without it.
        forward_seconds=forward.seconds * (1 + covered),
        device=model.device,
        model_bytes=model.parameter_bytes(),
        image_forward_bytes=forward.image_bytes,
        text_forward_bytes=forward.text_bytes,
        width=model.preparation.width,
        height=model.preparation.height,
        vector_bytes=4 * forward.images.shape[1],
    )
    for name, one in others.items():
        probe = _with_encoder(
            probe, one, [image for _, image, _ in usable], captions, name == config.concepts.embedding
        )
    sampled = _sampled([(sample, image.size) for _, image, sample in usable], vectors)
    return probe, sampled.with_columns(_beside(config, [sample for _, _, sample in usable], signals))


def _beside(config: Config, samples: Sequence[Sample], signals: Sequence[Measured | Fault]) -> pa.Table:
    """Return what stands beside the rows of samples: signals of their pictures, and the pool's fields."""
    named = [{FIELD.format(name): value for name, value in sample.fields.items()} for sample in samples]
    known = [found for found in signals if not isinstance(found, Fault)]
    both = [{**one, **other} for one, other in zip(known, named, strict=True)]
    return pa.Table.from_pylist(both, beside_rows(config.embedding.signals, config.input.fields))


def _share_with_text(
    config: Config, model: "ClipModel", samples: Sequence[tuple[npt.NDArray[np.uint8], "Decoded", Sample]]
) -> float:
    """Cover the text of decoded samples, if their masked score is asked for; return the share that has any."""
    if MASKED_SIGNAL not in config.embedding.signals:
        return 0.0
    from filtering.embedding.images import MaskedPreparation

    masks = MaskedPreparation(model.preparation)
    found = ((masks.pixels(image), pixels) for pixels, image, _ in samples)
    changed = [not np.array_equal(one, pixels) for one, pixels in found if isinstance(one, np.ndarray)]
    return float(np.mean(changed)) if changed else 0.0


def _with_encoder(
    probe: Probe, encoder: "ClipModel", images: Sequence["Decoded"], captions: Sequence[str], of_concepts: bool
) -> Probe:
    """Return the measurements with what a further encoder adds to each sample."""
    preparation, started = encoder.preparation, time.perf_counter()
    found = [pixels for image in images if isinstance(pixels := preparation.pixels(image), np.ndarray)]
    tokens = preparation.tokens(captions) if encoder.has_texts else None
    prepared = time.perf_counter()
    forward = _forwards(encoder, np.stack(found), tokens, encoder.device != "cpu")
    dimension = forward.images.shape[1]
    return replace(
        probe,
        dimension=dimension if of_concepts else probe.dimension,
        decode_seconds=probe.decode_seconds + (prepared - started) / len(images),
        forward_seconds=probe.forward_seconds + forward.seconds,
        model_bytes=probe.model_bytes + encoder.parameter_bytes(),
        image_forward_bytes=max(probe.image_forward_bytes, forward.image_bytes),
        text_forward_bytes=max(probe.text_forward_bytes, forward.text_bytes),
        further_pixels=probe.further_pixels + preparation.width * preparation.height,
        vector_bytes=probe.vector_bytes + 2 * dimension + 4 * encoder.has_texts,
    )


@dataclass(frozen=True, slots=True)
class _Forward:
    """What the towers gave for some samples; seconds and bytes are of one sample, captions of none are empty."""

    samples: int
    images: npt.NDArray[np.float32]
    texts: npt.NDArray[np.float32]
    seconds: float
    image_bytes: int
    text_bytes: int


def _forwards(
    model: "ClipModel", pixels: npt.NDArray[np.uint8], tokens: npt.NDArray[np.int32] | None, every: bool
) -> _Forward:
    """Embed every sample, or as many as take some seconds, by what the first takes."""
    started = time.perf_counter()
    first_image, _ = _needed(lambda: model.images(model.moved(pixels[:1])))
    first_text, _ = _needed(lambda: _texts(model, tokens, 1))
    # The first call loads and allocates: it is slower than others.
    affordable = int(EMBEDDED_SECONDS / (time.perf_counter() - started))
    count = len(pixels) if every else min(len(pixels), max(LEAST_EMBEDDED, affordable))
    started = time.perf_counter()
    image_bytes, images = _needed(lambda: model.images(model.moved(pixels[:count])))
    text_bytes, texts = _needed(lambda: _texts(model, tokens, count))
    seconds = (time.perf_counter() - started) / count
    # What the first left behind is used again.
    return _Forward(
        count, images, texts, seconds, (first_image + image_bytes) // count, (first_text + text_bytes) // count
    )


def _texts(model: "ClipModel", tokens: npt.NDArray[np.int32] | None, count: int) -> npt.NDArray[np.float32]:
    return np.zeros((0, 0), np.float32) if tokens is None else model.texts(tokens[:count])


def _sampled(
    samples: Sequence[tuple[Sample, tuple[int, int]]],
    vectors: tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]] | None,
) -> SampledRows:
    """Return decoded samples, each with its width and height, and their vectors of images and captions, if any."""
    scores = pa.nulls(len(samples), pa.float32())
    if vectors is not None:
        scores = pa.array(clip_scores(*map(unit_rows, vectors)), pa.float32())
    columns = {
        "uid": [sample.uid for sample, _ in samples],
        "caption": [sample.caption for sample, _ in samples],
        "width": pa.array([size[0] for _, size in samples], pa.int32()),
        "height": pa.array([size[1] for _, size in samples], pa.int32()),
        "clip_score": scores,
        "url": pa.array([sample.url for sample, _ in samples], pa.string()),
        "sha256": [hashlib.sha256(sample.image).hexdigest() for sample, _ in samples],
    }
    return SampledRows(pa.table(columns), None if vectors is None else half_rows(vectors[0]))


def _needed(function: Callable[[], R]) -> tuple[int, R]:
    """Return how far a call raises this process's resident memory, in bytes, and what it returned."""
    reset_peak_memory()
    before = peak_memory_bytes()
    found = function()
    return peak_memory_bytes() - before, found


def _first_samples(shards: Sequence[Shard], fields: Sequence[str]) -> list[Sample]:
    samples: list[Sample] = []
    for shard in shards[: 4 * PROBE_SHARDS]:
        for entry in sample_entries(shard, fields):
            samples += [entry] if isinstance(entry, Sample) else []
            if len(samples) == PROBE_SAMPLES:
                return samples
    return samples


def sample_entries(shard: Shard, fields: Sequence[str] = ()) -> Iterator[Sample | Quarantined]:
    """Yield the samples of a tar, and what is wrong with others."""
    with deletion_refused(shard.url), stream_object(shard.url) as stream:
        yield from read_samples(stream, shard.url, fields=fields)
