"""The inputs of a plan: the number of rows of the pool, and the cost of the first ones on this machine.

A row count is exact for DataComp metadata and for tars with img2dataset's statistics beside them; otherwise it is
extrapolated from the first shards by their bytes.
"""

import contextlib
import json
import multiprocessing
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from threadpoolctl import threadpool_limits

from filtering.config.run import Config
from filtering.core.clip_score import clip_scores
from filtering.core.errors import InputError
from filtering.core.schemas import beside_rows
from filtering.core.step_products import aligned
from filtering.embedding.artifacts import half_rows, unit_rows, unit_steps
from filtering.embedding.metadata import vector_source
from filtering.filters.sampling import SampledRows
from filtering.planning.costs import Speed
from filtering.planning.embedding_probe import PROBE_SHARDS, Probe, probed, sample_entries
from filtering.shards.columns import with_uids
from filtering.shards.field_columns import read_fields
from filtering.shards.inventory import Shard
from filtering.shards.metadata import UnreadableError, read_columns, row_count
from filtering.shards.vectors import MismatchError, VectorSource
from filtering.storage.at_once import each_at_once
from filtering.storage.store import filesystem_of, is_local
from filtering.storage.urls import beside

# Rows of the first table by which filters are judged.
SAMPLED_ROWS = 4_096
# Rows of the concept that is searched to measure the neighbour search, how often, and the candidates of a row.
PAIR_ROWS = 8_000
PAIR_ROUNDS = 3
PAIR_CANDIDATES = 20
MOST_PROBED = 4
# Ordinary work, and its seconds on the machine where the constants of `costs` were measured.
ORDINARY_ROWS, ORDINARY_DIMENSION, ORDINARY_KEYS, ORDINARY_ROUNDS = 4_096, 512, 500_000, 5
REFERENCE_ORDINARY_SECONDS = 0.069


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


def speed(dimension: int, workers: int) -> Speed:
    """Return what work takes here while `workers` processes do it: a distance of the neighbour search, and the rest.

    Several at once, because CPUs that share a core or memory slow each other down.
    """
    workers = min(workers, MOST_PROBED)
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        measured = pool.map(_measured, [dimension] * workers, chunksize=1)
    pairs, ordinary = (sum(times) / len(times) for times in zip(*measured, strict=True))
    return Speed(pairs, ordinary / REFERENCE_ORDINARY_SECONDS)


def _measured(dimension: int) -> tuple[float, float]:
    with threadpool_limits(1):
        return _pair_seconds(dimension), _ordinary_seconds()


def _pair_seconds(dimension: int) -> float:
    """Return the seconds of one distance, by the kind of products that the search takes on this CPU."""
    from filtering.graph.pairs import nearest_candidates
    from filtering.graph.products import coarse_products, fastest_kind

    # Embeddings' directions differ in spread; noise that is equal in all would have no near neighbours.
    drawn = np.random.default_rng(0).standard_normal((PAIR_ROWS, dimension), dtype=np.float32)
    steps = aligned(unit_steps(drawn * np.arange(1, dimension + 1, dtype=np.float32) ** np.float32(-0.6)))
    own = PAIR_ROWS // 4
    coarse = coarse_products(steps, own, fastest_kind(PAIR_ROWS))
    seconds = _median_seconds(lambda: nearest_candidates(coarse, own, PAIR_CANDIDATES), PAIR_ROUNDS)
    return seconds / (own * (own - 1) // 2 + own * (PAIR_ROWS - own))


def _ordinary_seconds() -> float:
    """Return the seconds of what other stages do most: widen vectors, multiply them in float32, sort."""
    random = np.random.default_rng(0)
    halves = random.standard_normal((ORDINARY_ROWS, ORDINARY_DIMENSION), dtype=np.float32).astype(np.float16)
    others, keys = unit_rows(halves[: ORDINARY_ROWS // 8]).T, random.random(ORDINARY_KEYS, dtype=np.float32)

    def work() -> None:
        unit_rows(halves) @ others
        np.argsort(keys, kind="stable")

    return _median_seconds(work, ORDINARY_ROUNDS)


def _median_seconds(work: Callable[[], object], rounds: int) -> float:
    """Return the median of the seconds that some work takes; before, once, it loads and compiles."""
    measured = []
    for _ in range(rounds + 1):
        started = time.perf_counter()
        work()
        measured.append(time.perf_counter() - started)
    return float(np.median(measured[1:]))


def _metadata_pool(config: Config, shards: Sequence[Shard]) -> Pool:
    """Count rows from footers, and take the dimension from the first vectors; a run quarantines other files."""
    source = vector_source(config.pool)
    found = list(each_at_once(partial(_looked_at, source), shards))
    counts, faults = [one.rows for one in found if one.rows is not None], [one.fault for one in found if one.fault]
    dimension = next((one.dimension for one in found if one.dimension), 0)
    if not dimension:
        raise InputError(f"plan: no file of metadata can be used; {faults[0]}")
    sampled = _sampled_rows(config, source, shards) if config.filters else None
    return Pool(sum(counts), max(counts), Probe(dimension), tuple(faults), sampled)


class _Footers(NamedTuple):
    """The rows of a shard and the dimension of its vectors, as far as known, and what is wrong with it."""

    rows: int | None = None
    dimension: int = 0
    fault: str = ""


def _looked_at(source: VectorSource, shard: Shard) -> _Footers:
    rows = None
    try:
        rows = row_count(shard.url)
        vectors, of_concepts = source.dimensions(shard)
    except FileNotFoundError:
        return _Footers(rows, fault=f"{shard.url}: it, or a file of its vectors, is not there")
    except UnreadableError as error:
        return _Footers(rows, fault=str(error))
    except MismatchError as error:
        return _Footers(rows, fault=f"{shard.vectors_url}: {error}")
    return _Footers(rows, of_concepts or vectors)


def _sampled_rows(config: Config, source: VectorSource, shards: Sequence[Shard]) -> SampledRows | None:
    """Return the first rows of the first table that can be read, with their vectors where these need no download."""
    for shard in shards:
        with contextlib.suppress(FileNotFoundError, UnreadableError, MismatchError):
            found = with_uids(read_columns(shard.url, source.names), config.input.uid_rule.place(shard.url))
            usable = np.flatnonzero(found.reasons == "")[:SAMPLED_ROWS]
            rows = found.table.take(pa.array(usable))
            named = read_fields(shard.url, config.input.fields, len(found)) if config.input.fields else {}
            beside = pa.table(list(named.values()), schema=beside_rows((), named)).take(pa.array(usable))
            scores, images = pa.nulls(len(rows), pa.float32()), None
            if all(is_local(url) for url in (shard.url, *(file.url for file in shard.vectors))):
                vectors = source.read(shard, len(found))
                images, texts = half_rows(vectors.images[usable]), half_rows(vectors.texts[usable])
                scores = pa.array(clip_scores(unit_rows(images), unit_rows(texts)), pa.float32())
            return SampledRows(rows.append_column("clip_score", scores), images).with_columns(beside)
    return None


def _tar_pool(config: Config, shards: Sequence[Shard]) -> Pool:
    """Count rows from statistics where they are, else by bytes; time a few samples through the model."""
    counts = list(each_at_once(_stated_samples, shards))
    known = [(count, shard.size) for count, shard in zip(counts, shards, strict=True) if count is not None]
    if len(known) < len(shards):
        known += [(_counted_samples(shard), shard.size) for shard in shards[:PROBE_SHARDS]]
    per_byte = sum(count for count, _ in known) / max(sum(size for _, size in known), 1)
    rows = [int(shard.size * per_byte) if count is None else count for count, shard in zip(counts, shards, strict=True)]
    probe, sampled = probed(config, shards)
    return Pool(sum(rows), max(rows), probe, sampled=sampled)


def _stated_samples(shard: Shard) -> int | None:
    url = beside(shard.url, ".tar", "_stats.json")
    filesystem, path = filesystem_of(url)
    try:
        return int(json.loads(filesystem.cat_file(path))["successes"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _counted_samples(shard: Shard) -> int:
    return sum(1 for _ in sample_entries(shard))
