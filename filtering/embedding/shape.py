"""How many actors hold the model, and how many decoders feed each of them."""

from filtering.config.embedding import Embedding
from filtering.config.run import Ray
from filtering.core.errors import InputError
from filtering.runtime.task_spec import Capacity, WorkerShape

# More would only wait for each other: one model takes what this many CPUs decode.
MOST_DECODERS = 64


def embedder_shape(settings: Embedding, workers: Ray, capacity: Capacity, shards: int) -> tuple[WorkerShape, int]:
    """Return the embedding actors to ask for and the decoding tasks of each (0: decoded beside the model).

    Numbers given in the configuration may exceed the executor's capacity of now, which makes a cluster grow. No more
    actors than shards are asked for. InputError if a GPU is demanded and nothing says how many there will be.
    """
    if not capacity.remote:
        return WorkerShape(1, 1, 0), 0
    if settings.device == "cuda" or (settings.device == "auto" and capacity.gpus > 0):
        return _on_gpus(workers, capacity.cpus, capacity.gpus, shards)
    return _on_cpus(workers, capacity.cpus, shards)


def _on_gpus(settings: Ray, cpus: int, gpus: int, shards: int) -> tuple[WorkerShape, int]:
    share = settings.gpus_per_embedder
    if settings.embedders == "auto" and gpus == 0:
        raise InputError(
            "embedding.device: cuda, but the cluster has no GPU now; set ray.embedders to how many it may start, "
            "or embedding.device to auto or cpu"
        )
    count = int(gpus / share) if settings.embedders == "auto" else settings.embedders
    decoders = max(2, min(MOST_DECODERS, cpus // count)) if settings.decoders == "auto" else settings.decoders
    # Beside decoders, an actor on a GPU needs no CPU of its own: it waits for the device.
    return WorkerShape(min(count, shards), 0 if decoders else 1, share, max(1, decoders)), decoders


def _on_cpus(settings: Ray, cpus: int, shards: int) -> tuple[WorkerShape, int]:
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
    return WorkerShape(min(count, shards), 1, 0, max(1, decoders)), decoders
