"""The inputs of a plan: the number of rows of the pool, and the cost of the first ones on this machine.

A row count is exact for DataComp metadata and for tars with img2dataset's statistics beside them; otherwise it is
extrapolated from the first shards by their bytes.
"""

import contextlib
import hashlib
import json
import multiprocessing
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from threadpoolctl import threadpool_limits

from filtering.config.run import Config
from filtering.core.clip_score import clip_scores
from filtering.core.errors import InputError
from filtering.embedding.artifacts import half_rows, unit_rows
from filtering.embedding.metadata import vector_source
from filtering.filters.sampling import SampledRows, reads_vectors
from filtering.runtime.worker import peak_memory_bytes, reset_peak_memory
from filtering.shards.columns import with_uids
from filtering.shards.inventory import Shard
from filtering.shards.metadata import UnreadableError, read_columns, row_count
from filtering.shards.samples import Quarantined, Sample, read_samples
from filtering.shards.vectors import MismatchError, VectorSource
from filtering.storage.store import filesystem_of, is_local, stream_object
from filtering.storage.urls import beside
from filtering.storage.versions import deletion_refused

if TYPE_CHECKING:
    from filtering.embedding.model import ClipModel

PROBE_SHARDS = 2
# Samples that are decoded; those of them that are embedded on a CPU take so many seconds, and are at least so many: the
# memory of one cannot be told from what the first call loads.
PROBE_SAMPLES = 64
EMBEDDED_SECONDS, LEAST_EMBEDDED = 2.0, 4
# Rows of the first table by which filters are judged.
SAMPLED_ROWS = 4_096
R = TypeVar("R")
# Rows of the concept that is searched to measure the neighbour search, and how often.
PAIR_ROWS = 8_000
PAIR_ROUNDS = 3
MOST_PROBED = 4


@dataclass(frozen=True, slots=True)
class Probe:
    """Measurements on the first samples, on one thread."""

    dimension: int  # of the embeddings
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

    @property
    def seconds_per_row(self) -> float:
        """Seconds of one thread for a sample."""
        return self.decode_seconds + self.forward_seconds


@dataclass(frozen=True, slots=True)
class Pool:
    """The pool: rows in all and in the largest shard, the measurements, and a line for each shard that lacks rows.

    `sampled` are some of the first samples, which tell how many pass the filters.
    """

    rows: int
    largest_shard: int
    probe: Probe
    faults: tuple[str, ...] = ()
    sampled: SampledRows | None = None


def measured_pool(config: Config, shards: Sequence[Shard]) -> Pool:
    """Return the pool's counts and measurements; InputError if no sample of the first shards can be embedded."""
    return _tar_pool(config, shards) if config.input.has_pictures else _metadata_pool(config, shards)


def pair_seconds(dimension: int, workers: int) -> float:
    """Return the CPU seconds of one distance of the neighbour search while `workers` processes compute them here.

    Several at once, because CPUs that share a core or memory slow each other down.
    """
    workers = min(workers, MOST_PROBED)
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        measured = pool.map(_pair_seconds, [dimension] * workers, chunksize=1)
    return sum(measured) / len(measured)


def _pair_seconds(dimension: int) -> float:
    from filtering.graph.pairs import member_neighbours, narrow
    from filtering.graph.quantised import quantised

    with threadpool_limits(1):
        # Embeddings' directions differ in spread; noise that is equal in all would have no near neighbours.
        drawn = np.random.default_rng(0).standard_normal((PAIR_ROWS, dimension), dtype=np.float32)
        vectors = unit_rows(drawn * np.arange(1, dimension + 1, dtype=np.float32) ** np.float32(-0.6))
        own, coarse = PAIR_ROWS // 4, quantised(vectors) if narrow(PAIR_ROWS) else None
        rounds = []
        for _ in range(PAIR_ROUNDS + 1):
            started = time.perf_counter()
            member_neighbours(vectors, own, 10, coarse)
            rounds.append(time.perf_counter() - started)
        # The first one loads and compiles.
        return float(np.median(rounds[1:])) / (own * (own - 1) // 2 + own * (PAIR_ROWS - own))


def _metadata_pool(config: Config, shards: Sequence[Shard]) -> Pool:
    """Count rows from footers, and take the dimension from the first vectors; a run quarantines other files."""
    counts, faults, dimension, source = [], list[str](), 0, vector_source(config.pool)
    for shard in shards:
        try:
            counts.append(row_count(shard.url))
            dimension = dimension or max(source.dimensions(shard))
        except FileNotFoundError:
            faults.append(f"{shard.url}: it, or a file of its vectors, is not there")
        except UnreadableError as error:
            faults.append(str(error))
        except MismatchError as error:
            faults.append(f"{shard.vectors_url}: {error}")
    if not dimension:
        raise InputError(f"plan: no file of metadata can be used; {faults[0]}")
    sampled = _sampled_rows(config, source, shards) if config.filters else None
    return Pool(sum(counts), max(counts), Probe(dimension), tuple(faults), sampled)


def _sampled_rows(config: Config, source: VectorSource, shards: Sequence[Shard]) -> SampledRows | None:
    """Return the first rows of the first table that can be read, with their vectors where these need no download."""
    for shard in shards:
        with contextlib.suppress(FileNotFoundError, UnreadableError, MismatchError):
            found = with_uids(read_columns(shard.url, source.names), config.input.uid_rule.place(shard.url))
            usable = np.flatnonzero(found.reasons == "")[:SAMPLED_ROWS]
            rows = found.table.take(pa.array(usable))
            if not all(is_local(url) for url in (shard.url, *(file.url for file in shard.vectors))):
                return SampledRows(rows.append_column("clip_score", pa.nulls(len(rows), pa.float32())), None)
            vectors = source.read(shard, len(found))
            images, texts = half_rows(vectors.images[usable]), half_rows(vectors.texts[usable])
            scores = clip_scores(unit_rows(images), unit_rows(texts))
            return SampledRows(rows.append_column("clip_score", pa.array(scores, pa.float32())), images)
    return None


def _tar_pool(config: Config, shards: Sequence[Shard]) -> Pool:
    """Count rows from statistics where they are, else by bytes; time a few samples through the model."""
    counts = [_stated_samples(shard) for shard in shards]
    known = [(count, shard.size) for count, shard in zip(counts, shards, strict=True) if count is not None]
    if len(known) < len(shards):
        known += [(_counted_samples(shard), shard.size) for shard in shards[:PROBE_SHARDS]]
    per_byte = sum(count for count, _ in known) / max(sum(size for _, size in known), 1)
    rows = [int(shard.size * per_byte) if count is None else count for count, shard in zip(counts, shards, strict=True)]
    probe, sampled = _probed(config, shards)
    return Pool(sum(rows), max(rows), probe, sampled=sampled)


def _stated_samples(shard: Shard) -> int | None:
    url = beside(shard.url, ".tar", "_stats.json")
    filesystem, path = filesystem_of(url)
    try:
        return int(json.loads(filesystem.cat_file(path))["successes"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _counted_samples(shard: Shard) -> int:
    return sum(1 for _ in _entries(shard))


def _probed(config: Config, shards: Sequence[Shard]) -> tuple[Probe, SampledRows]:
    """Decode and embed the pool's first samples on one thread of this machine, on its GPU if it has one."""
    import torch

    from filtering.embedding.model import ClipModel

    here = config.embedding.device if torch.cuda.is_available() else "cpu"
    model = ClipModel(config.embedding.model_copy(update={"device": here}))
    samples = _first_samples(shards)
    started = time.perf_counter()
    prepared = [(model.preparation.image(sample.image), sample) for sample in samples]
    usable = [(image[0], sample, image[1].size) for image, sample in prepared if isinstance(image, tuple)]
    if not usable:
        raise InputError(f"plan: the first shards hold no sample that can be embedded, {shards[0].url} for one")
    tokens = model.preparation.tokens([sample.caption for _, sample, _ in usable])
    decoded = time.perf_counter()
    pixels = np.stack([pixels for pixels, _, _ in usable])
    every = model.device != "cpu" or any(map(reads_vectors, config.filters))
    forward = _forwards(model, pixels, tokens, every)
    found = [(sample, size) for _, sample, size in usable]
    vectors = (forward.images, forward.texts) if forward.samples == len(usable) else None
    probe = Probe(
        dimension=forward.texts.shape[1],
        samples=forward.samples,
        decode_seconds=(decoded - started) / len(usable),
        forward_seconds=forward.seconds,
        device=model.device,
        model_bytes=model.parameter_bytes(),
        image_forward_bytes=forward.image_bytes,
        text_forward_bytes=forward.text_bytes,
        width=model.preparation.width,
        height=model.preparation.height,
    )
    return probe, _sampled(found, vectors)


@dataclass(frozen=True, slots=True)
class _Forward:
    """What both towers gave for some samples; seconds and bytes are of one sample."""

    samples: int
    images: npt.NDArray[np.float32]
    texts: npt.NDArray[np.float32]
    seconds: float
    image_bytes: int
    text_bytes: int


def _forwards(
    model: "ClipModel", pixels: npt.NDArray[np.uint8], tokens: npt.NDArray[np.int32], every: bool
) -> _Forward:
    """Embed every sample, or as many as take some seconds, by what the first takes."""
    started = time.perf_counter()
    first_image, _ = _needed(lambda: model.images(model.moved(pixels[:1])))
    first_text, _ = _needed(lambda: model.texts(tokens[:1]))
    # The first call loads and allocates: it is slower than others.
    affordable = int(EMBEDDED_SECONDS / (time.perf_counter() - started))
    count = len(pixels) if every else min(len(pixels), max(LEAST_EMBEDDED, affordable))
    started = time.perf_counter()
    image_bytes, images = _needed(lambda: model.images(model.moved(pixels[:count])))
    text_bytes, texts = _needed(lambda: model.texts(tokens[:count]))
    seconds = (time.perf_counter() - started) / count
    # What the first left behind is used again.
    return _Forward(
        count, images, texts, seconds, (first_image + image_bytes) // count, (first_text + text_bytes) // count
    )


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


def _first_samples(shards: Sequence[Shard]) -> list[Sample]:
    samples: list[Sample] = []
    for shard in shards[: 4 * PROBE_SHARDS]:
        for entry in _entries(shard):
            samples += [entry] if isinstance(entry, Sample) else []
            if len(samples) == PROBE_SAMPLES:
                return samples
    return samples


def _entries(shard: Shard) -> Iterator[Sample | Quarantined]:
    with deletion_refused(shard.url), stream_object(shard.url) as stream:
        yield from read_samples(stream, shard.url)
