"""The embedding stage: one task a shard, on actors that hold the model."""

from collections.abc import Callable, Sequence
from typing import Any

from filtering.config import Config
from filtering.embedding.checkpoint import model_identity
from filtering.embedding.metadata import MetadataReader
from filtering.embedding.objects import EmbeddedShard
from filtering.engine import Engine, Task, Workers
from filtering.errors import InputError
from filtering.shards.inventory import Shard
from filtering.stage import Runtime, Stage

VERSION = 1


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
    counts = stage.map(_workers(config, len(tasks)), tasks, "shards")
    totals = {name: sum(count[name] for count in counts) for name in ("samples", "rows", "quarantined")}
    stage.summary = f"{totals['rows']:,} samples embedded, {totals['quarantined']:,} quarantined"
    return {**totals, "by_shard": [count["samples"] for count in counts]}


def embedded_shards(stage: Stage, config: Config, shards: Sequence[Shard]) -> list[EmbeddedShard]:
    """Return the shards as the stations after this one read them."""
    arrays = config.input.arrays if config.input.metadata is not None else None
    return [EmbeddedShard(shard, stage.store.url, arrays) for shard in shards]


def _workers(config: Config, shards: int) -> Callable[[Engine], Workers]:
    if config.input.metadata is not None:
        return lambda engine: engine.tasks(MetadataReader(config.input.arrays))

    def actors(engine: Engine) -> Workers:
        # Imported here: with metadata as input, neither torch nor open_clip is ever loaded.
        from filtering.embedding.tars import TarEmbedder

        if config.embedding.device == "cuda" and engine.gpus() == 0:
            raise InputError("embedding.device: cuda, but the cluster has no GPU; set it to auto or cpu")
        on_gpu = config.embedding.device != "cpu" and engine.gpus() > 0
        count = engine.gpus() if on_gpu else engine.cpus()
        return engine.actors(TarEmbedder, (config.embedding,), min(count, shards), 1.0 if on_gpu else 0.0)

    return actors
