"""The embedding stage: one task a shard, on actors that hold the model; a base's shards are not embedded again."""

from collections.abc import Callable, Sequence
from typing import Any

from filtering.config.run import Config, Embedding
from filtering.core.errors import InputError
from filtering.embedding.artifacts import (
    NAME,
    ROWS_NAME,
    EmbeddedShard,
    Whereabouts,
    read_whereabouts,
    whereabouts,
    write_whereabouts,
)
from filtering.embedding.checkpoint import model_identity
from filtering.embedding.metadata import MetadataReader
from filtering.embedding.shape import crew_shape
from filtering.runtime.engine import Engine
from filtering.runtime.finished_run import Base, Carried
from filtering.runtime.stage import Runtime, Stage, folder_name
from filtering.runtime.worker import Task
from filtering.runtime.worker_pools import Crew
from filtering.shards.inventory import Shard
from filtering.storage.store import Store

VERSION = 3
COUNTS = ("samples", "rows", "quarantined")


def embedding_stage(runtime: Runtime, config: Config, inventory: str) -> Stage:
    """Return the stage; its objects are named by shard, so that only new shards are ever embedded."""
    return Stage(runtime, NAME, VERSION, _settings(config), (inventory,), per_shard=True)


def check_base(base: Base, config: Config) -> None:
    """Refuse a base whose embeddings are others than this run would make.

    Raises
    ------
    InputError
        One line that says what to do.
    """
    wanted = folder_name(NAME, VERSION, _settings(config))
    if not base.store(NAME).url.endswith(f"/{wanted}"):
        raise InputError(
            f"base: {base.url} was embedded with another model or other settings under embedding or input.arrays; "
            "take those of its run.json, or give no base, so that the whole pool is embedded"
        )


def embed(stage: Stage, config: Config, shards: Sequence[Shard], carried: Carried | None = None) -> dict[str, Any]:
    """Embed every shard that no base has; return how many samples there are, usable and not, and how many in each."""
    known = _known(carried)
    tasks = [Task(shard.identity, (shard, stage.store.url)) for shard in shards if shard.identity not in known]
    counts = stage.map(_crew(config, len(tasks)), tasks, "shards") if tasks else []
    for task, count in zip(tasks, counts, strict=True):
        known[task.name] = (stage.store.url, count["samples"], count["rows"], count["quarantined"])
    where = {shard.identity: known[shard.identity] for shard in shards}
    write_whereabouts(stage.store, stage.fingerprint, where)
    counted = [counts for _, *counts in where.values()]
    totals = {name: sum(one[place] for one in counted) for place, name in enumerate(COUNTS)}
    stage.summary = f"{totals['rows']:,} samples embedded, {totals['quarantined']:,} quarantined"
    carried_over = len(shards) - len(tasks)
    if carried_over:
        stage.summary += f"; {len(tasks):,} shards embedded, {carried_over:,} taken from the base"
    work = {"embedded_shards": len(tasks), "carried_shards": carried_over}
    return {**totals, **work, "by_shard": [one[1] for one in where.values()]}


def embedded_shards(stage: Stage, config: Config, shards: Sequence[Shard]) -> list[EmbeddedShard]:
    """Return the shards as the stations after this one read them."""
    arrays = config.input.arrays if config.input.metadata is not None else None
    where = read_whereabouts(stage.store, stage.fingerprint)
    return [EmbeddedShard(shard, where[shard.identity][0], arrays) for shard in shards]


def _settings(config: Config) -> Any:
    if config.input.metadata is not None:
        return ["metadata", config.input.arrays.model_dump()]
    keys = config.embedding.model_dump(exclude={"model", "pretrained"})
    return ["tars", model_identity(config.embedding), keys]


def _known(carried: Carried | None) -> Whereabouts:
    """Return where the rows are of the base's shards that are there as they were, as far as they still lie there."""
    if carried is None:
        return {}
    identities = carried.identities()
    found = {one: place for one, place in whereabouts(carried.base).items() if one in identities}
    there = {url: set(Store(url).names(ROWS_NAME.format(""))) for url in {place[0] for place in found.values()}}
    return {identity: place for identity, place in found.items() if ROWS_NAME.format(identity) in there[place[0]]}


def _crew(config: Config, shards: int) -> Callable[[Engine], Crew]:
    if config.input.metadata is not None:
        return lambda engine: engine.tasks(MetadataReader(config.input.arrays))

    def embedders(engine: Engine) -> Crew:
        shape, decoders = crew_shape(config, engine.cpus(), engine.gpus(), shards)
        return engine.actors(tar_embedder, (config.embedding, decoders), shape)

    return embedders


def tar_embedder(settings: Embedding, decoders: int) -> Callable[[Shard, str], dict[str, Any]]:
    """Return a `TarEmbedder`; torch and open_clip are loaded by whoever calls this, an actor and not the driver."""
    from filtering.embedding.tars import TarEmbedder

    return TarEmbedder(settings, decoders)
