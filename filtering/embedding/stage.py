"""The embedding stage: one task a shard, on actors that hold the model."""

from collections.abc import Callable, Sequence
from typing import Any

from filtering.attempts import Task
from filtering.config import Config, Embedding
from filtering.crew import Crew
from filtering.embedding.checkpoint import model_identity
from filtering.embedding.metadata import MetadataReader
from filtering.embedding.objects import EmbeddedShard
from filtering.embedding.shape import crew_shape
from filtering.engine import Engine
from filtering.shards.inventory import Shard
from filtering.stage import Runtime, Stage

VERSION = 3


def embedding_stage(runtime: Runtime, config: Config, inventory: str) -> Stage:
    """Return the stage; its objects are named by shard, so that only new shards are ever embedded."""
    if config.input.metadata is not None:
        settings: Any = ["metadata", config.input.arrays.model_dump()]
    else:
        keys = config.embedding.model_dump(exclude={"model", "pretrained"})
        settings = ["tars", model_identity(config.embedding), keys]
    return Stage(runtime, "embedding", VERSION, settings, (inventory,), per_shard=True)


def embed(stage: Stage, config: Config, shards: Sequence[Shard]) -> dict[str, Any]:
    """Embed every shard and return how many samples there are, usable and not, and how many in each shard."""
    tasks = [Task(shard.identity, (shard, stage.store.url)) for shard in shards]
    counts = stage.map(_crew(config, len(tasks)), tasks, "shards")
    totals = {name: sum(count[name] for count in counts) for name in ("samples", "rows", "quarantined")}
    stage.summary = f"{totals['rows']:,} samples embedded, {totals['quarantined']:,} quarantined"
    return {**totals, "by_shard": [count["samples"] for count in counts]}


def embedded_shards(stage: Stage, config: Config, shards: Sequence[Shard]) -> list[EmbeddedShard]:
    """Return the shards as the stations after this one read them."""
    arrays = config.input.arrays if config.input.metadata is not None else None
    return [EmbeddedShard(shard, stage.store.url, arrays) for shard in shards]


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
