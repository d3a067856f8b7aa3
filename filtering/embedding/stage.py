"""The embedding stage: one task a shard, on actors that hold the model; a base's shards are not embedded again."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from filtering.config.run import Embedding, Input, Ray
from filtering.core.errors import InputError
from filtering.embedding.artifacts import (
    NAME,
    ROWS_NAME,
    EmbeddedShard,
    EmbeddingResult,
    ShardCounts,
    ShardLocation,
    ShardLocations,
    read_locations,
    shard_locations,
    write_locations,
)
from filtering.embedding.checkpoint import model_identity
from filtering.embedding.metadata import MetadataReader
from filtering.embedding.shape import embedder_shape
from filtering.runtime.finished_run import Base, Reusable
from filtering.runtime.stage import Finished, StageKey, StageRun
from filtering.runtime.task_spec import ActorPlan, Actors, Capacity
from filtering.shards.inventory import Shard
from filtering.storage.store import Store

VERSION = 3
# Of what is read from metadata: raised without the tars of older runs being embedded again.
METADATA_VERSION = 2


def embedding_key(source: Input, settings: Embedding, inventory: str) -> StageKey:
    """Return the stage's identity; its objects are named by shard, so that only new shards are ever embedded."""
    return StageKey(NAME, VERSION, _settings(source, settings), (inventory,), per_shard=True)


def check_base(base: Base, source: Input, settings: Embedding) -> None:
    """Refuse a base whose embeddings are others than this run would make."""
    if not base.store(NAME).url.endswith(f"/{embedding_key(source, settings, '').folder}"):
        raise InputError(
            f"base: {base.run.url} was embedded with another model or other settings under embedding or input.arrays, "
            "or by an older version; take those of its run.json, or give no base, so that the whole pool is embedded"
        )


def embed(
    stage: StageRun,
    source: Input,
    settings: Embedding,
    workers: Ray,
    shards: Sequence[Shard],
    reusable: Reusable | None = None,
) -> EmbeddingResult:
    """Embed every shard of the inventory that the base does not have; return how many samples there are."""
    known = _known(reusable)
    new = [shard for shard in shards if shard.identity not in known]
    for shard, count in zip(new, _embedded(stage, source, settings, workers, new), strict=True):
        known[shard.identity] = ShardLocation(stage.store, count["samples"], count["rows"], count["quarantined"])
    where = {shard.identity: known[shard.identity] for shard in shards}
    write_locations(stage.store, stage.key.fingerprint, where)
    return EmbeddingResult(
        samples=sum(place.samples for place in where.values()),
        rows=sum(place.rows for place in where.values()),
        quarantined=sum(place.quarantined for place in where.values()),
        embedded_shards=len(new),
        carried_shards=len(shards) - len(new),
        by_shard=tuple(place.samples for place in where.values()),
    )


def embedded_shards(
    embedding: Finished[EmbeddingResult], source: Input, shards: Sequence[Shard]
) -> list[EmbeddedShard]:
    """Return the shards as the stages after this one read them."""
    arrays = source.arrays if source.metadata is not None else None
    where = read_locations(embedding.store, embedding.fingerprint)
    return [EmbeddedShard(shard, where[shard.identity].store, arrays) for shard in shards]


def _settings(source: Input, settings: Embedding) -> Any:
    if source.metadata is not None:
        return ["metadata", METADATA_VERSION, source.arrays.model_dump()]
    keys = settings.model_dump(exclude={"model", "pretrained"})
    return ["tars", model_identity(settings), keys]


def _known(reusable: Reusable | None) -> ShardLocations:
    """Return where the rows are of the base's shards that are there as they were, as far as they still lie there."""
    if reusable is None:
        return {}
    identities = reusable.identities()
    found = {one: place for one, place in shard_locations(reusable.base).items() if one in identities}
    stores = {place.store for place in found.values()}
    there = {store: set(store.names(ROWS_NAME.format(""))) for store in stores}
    return {identity: place for identity, place in found.items() if ROWS_NAME.format(identity) in there[place.store]}


def _embedded(
    stage: StageRun, source: Input, settings: Embedding, workers: Ray, shards: Sequence[Shard]
) -> list[ShardCounts]:
    if source.metadata is not None:
        return stage.over_shards("", "shards", shards, MetadataReader(source.arrays), stage.store)
    actors = Actors(partial(_plan, settings, workers, len(shards)))
    return stage.map([actors.task(shard.identity, shard, stage.store) for shard in shards], "shards", actors)


def _plan(settings: Embedding, workers: Ray, shards: int, capacity: Capacity) -> ActorPlan[[Shard, Store], ShardCounts]:
    shape, decoders = embedder_shape(settings, workers, capacity, shards)
    return ActorPlan(shape, partial(tar_embedder, settings, decoders), settings.model)


def tar_embedder(settings: Embedding, decoders: int) -> Callable[[Shard, Store], ShardCounts]:
    """Return a `TarEmbedder`; torch and open_clip are loaded by whoever calls this, an actor and not the driver."""
    from filtering.embedding.tars import TarEmbedder

    return TarEmbedder(settings, decoders)
