"""The embedding stage: one task a shard, on actors that hold the model; a base's shards are not embedded again."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from filtering.config.run import Embedding, Input, Ray
from filtering.core.errors import InputError
from filtering.core.uid_rule import BY_URL, UidRule
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
# Of the reading of metadata, which costs so little that nobody misses rows of another version.
METADATA_VERSION = 2


def embedding_key(source: Input, settings: Embedding, inventory: str) -> StageKey:
    """Return the stage's identity; its objects are named by shard, so that only new shards are ever embedded."""
    return StageKey(NAME, VERSION, _settings(source, settings), (inventory,), per_shard=True)


def check_base(base: Base, source: Input, settings: Embedding, shards: Sequence[Shard]) -> None:
    """Refuse a base whose embeddings are others than this run would make, or whose derived uids are."""
    rule = UidRule.recorded(base.record)
    as_there = source.model_copy(update={"uids": rule.uids, "root": rule.root})
    if not base.store(NAME).url.endswith(f"/{embedding_key(as_there, settings, '').folder}"):
        raise InputError(
            f"base: {base.run.url} was embedded with another model or other settings under embedding or input.arrays, "
            "or by another version; take those of its run.json, or give no base, so that the whole pool is embedded"
        )
    if not _same_uids(rule, source.uid_rule, base.shards, shards):
        raise InputError(
            f"base: {base.run.url} was made with {rule}; with {source.uid_rule}, samples that bring no uid would get "
            f"others; set {rule}, or give no base, so that the whole pool is embedded"
        )


def _same_uids(before: UidRule, now: UidRule, there: Sequence[Shard], shards: Sequence[Shard]) -> bool:
    """Say whether two rules agree on the shards of two inventories; a pool that moved has no shard in both."""
    if before.uids != now.uids:
        return False
    urls = {shard.url for shard in there}
    return before == now or all(before.place(one.url) == now.place(one.url) for one in shards if one.url in urls)


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
    # Rows have the uids. By the shard's name they are those of versions that had no other rule.
    rule = [] if source.uids == "name" else [source.uids, source.root]
    if source.metadata is not None:
        return ["metadata", METADATA_VERSION, source.arrays.model_dump(), *rule]
    keys = settings.model_dump(exclude={"model", "pretrained"})
    return ["tars", model_identity(settings), keys, *rule]


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
        return stage.over_shards("", "shards", shards, MetadataReader(source.arrays, source.uid_rule), stage.store)
    actors = Actors(partial(_plan, source.uid_rule, settings, workers, len(shards)))
    return stage.map([actors.task(shard.identity, shard, stage.store) for shard in shards], "shards", actors)


def _plan(
    uid_rule: UidRule, settings: Embedding, workers: Ray, shards: int, capacity: Capacity
) -> ActorPlan[[Shard, Store], ShardCounts]:
    shape, decoders = embedder_shape(settings, workers, capacity, shards)
    return ActorPlan(shape, partial(tar_embedder, settings, decoders, uid_rule))


def tar_embedder(
    settings: Embedding, decoders: int, uid_rule: UidRule = BY_URL
) -> Callable[[Shard, Store], ShardCounts]:
    """Return a `TarEmbedder`; torch and open_clip are loaded by whoever calls this, an actor and not the driver."""
    from filtering.embedding.tars import TarEmbedder

    return TarEmbedder(settings, decoders, uid_rule)
