"""The embedding stage: one task a shard, on actors that hold the model."""

from collections.abc import Callable, Sequence
from typing import Any

from filtering.attempts import Task
from filtering.config import Config, Embedding, Ray
from filtering.crew import ActorShape, Crew
from filtering.embedding.checkpoint import model_identity
from filtering.embedding.metadata import MetadataReader
from filtering.embedding.objects import EmbeddedShard
from filtering.engine import Engine
from filtering.errors import InputError
from filtering.shards.inventory import Shard
from filtering.stage import Runtime, Stage

VERSION = 3
# More would only wait for each other: one model takes what this many CPUs decode.
MOST_DECODERS = 64


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


def crew_shape(config: Config, cpus: int, gpus: int, shards: int) -> tuple[ActorShape, int]:
    """Return the embedding actors to ask for and the decoding tasks of each (0: decoded beside the model).

    Parameters
    ----------
    config : Config
        Its sections `ray` and `embedding.device`.
    cpus, gpus : int
        What the cluster has now; numbers given in the configuration may exceed it, which makes a cluster grow.
    shards : int
        No more actors than shards are asked for.

    Raises
    ------
    InputError
        If a GPU is demanded and nothing says how many there will be.
    """
    if config.embedding.device == "cuda" or (config.embedding.device == "auto" and gpus > 0):
        return _on_gpus(config.ray, cpus, gpus, shards)
    return _on_cpus(config.ray, cpus, shards)


def _on_gpus(settings: Ray, cpus: int, gpus: int, shards: int) -> tuple[ActorShape, int]:
    share = settings.gpus_per_embedder
    if settings.embedders == "auto" and gpus == 0:
        raise InputError(
            "embedding.device: cuda, but the cluster has no GPU now; set ray.embedders to how many it may start, "
            "or embedding.device to auto or cpu"
        )
    count = int(gpus / share) if settings.embedders == "auto" else settings.embedders
    decoders = max(2, min(MOST_DECODERS, cpus // count)) if settings.decoders == "auto" else settings.decoders
    # Beside decoders, an actor on a GPU needs no CPU of its own: it waits for the device.
    return ActorShape(min(count, shards), 0 if decoders else 1, share, max(1, decoders)), decoders


def _on_cpus(settings: Ray, cpus: int, shards: int) -> tuple[ActorShape, int]:
    count, decoders = settings.embedders, 0 if settings.decoders == "auto" else settings.decoders
    if decoders and cpus < 2:
        raise InputError("ray.decoders: embedding on CPUs with decoders of its own needs at least 2 CPUs; set it to 0")
    # Decoders of their own need CPUs that no embedder holds.
    most = max(1, cpus // 2) if decoders else cpus
    count = most if count == "auto" else count
    if decoders and count >= cpus:
        raise InputError(
            f"ray.embedders: {count} leave none of the {cpus} CPUs to decoders; lower it or set ray.decoders to 0"
        )
    return ActorShape(min(count, shards), 1, 0, max(1, decoders)), decoders
