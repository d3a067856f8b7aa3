"""The two operators of the embedding stage as a Ray Data pipeline."""

import os
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import ray

from filtering.config.run import Config
from filtering.embedding.decoding import batches
from filtering.embedding.model import ClipModel
from filtering.runtime.local_ray import LocalRay
from filtering.shards.inventory import Shard


def pairs_per_second(config: Config, shards: Sequence[Shard], total: int) -> float:
    """Return pairs a second, counted from the first output; writes nothing."""

    class Embed:
        def __init__(self) -> None:
            self.model = ClipModel(config.embedding)

        def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
            images = self.model.images(self.model.moved(np.ascontiguousarray(batch["pixels"])))
            return {"image": images, "text": self.model.texts(np.ascontiguousarray(batch["tokens"]))}

    preparation = ClipModel(config.embedding).preparation
    settings = config.embedding

    def decode(row: dict[str, Any]) -> Iterator[dict[str, Any]]:
        for batch in batches(Shard(**row), preparation, settings):
            for pixels, tokens in zip(batch.pixels, batch.tokens, strict=True):
                yield {"pixels": pixels, "tokens": tokens}

    local = LocalRay()
    local.start()
    ray.data.DataContext.get_current().enable_progress_bars = False
    cuda = settings.device == "cuda"
    made = ray.data.from_items([shard.plain() for shard in shards], override_num_blocks=len(shards)).flat_map(decode)
    found = made.map_batches(
        Embed,
        batch_size=settings.batch_size,
        num_cpus=0 if cuda else 1,
        num_gpus=1 if cuda else 0,
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=1 if cuda else max(1, (os.cpu_count() or 1) // 2)),
    )
    times, counts = [], []
    for batch in found.iter_batches(batch_size=None):
        times.append(time.perf_counter())
        counts.append(len(batch["image"]))
    local.stop()
    if sum(counts) != total:
        sys.exit(f"Ray Data gave {sum(counts)} of {total} pairs")
    return sum(counts[1:]) / (times[-1] - times[0])
