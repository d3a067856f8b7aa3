"""The limits of the embedding stage: open_clip's bare forward from memory, and decoding without a model."""

import os
import time
from collections.abc import Sequence

import numpy as np
import torch

from benchmarks.lib import processes
from filtering.config.embedding import Embedding
from filtering.embedding.decoding import batches
from filtering.embedding.loading import PRECISIONS
from filtering.embedding.model import ClipModel
from filtering.shards.inventory import Shard

ROUNDS = 3


def bare_forward(settings: Embedding, total: int) -> float:
    """Return pairs a second of open_clip's two towers over batches in memory, on all cores or the GPU."""
    model = ClipModel(settings)
    torch.set_num_threads(os.cpu_count() or 1)
    size, side = settings.batch_size, model.preparation
    images = torch.rand(size, 3, side.height, side.width).to(model.device, PRECISIONS[settings.precision])
    tokens = torch.from_numpy(side.tokens(["a photograph of a thing"] * size)).long().to(model.device)
    times, rates = max(1, total // size // ROUNDS), []
    with torch.inference_mode():
        for _ in range(ROUNDS):
            started = time.perf_counter()
            for _ in range(times):
                last = model.model.encode_image(images), model.model.encode_text(tokens)
            # Waits for a GPU.
            [vectors.cpu() for vectors in last]
            rates.append(times * size / (time.perf_counter() - started))
    # The first round warms up.
    return float(np.median(rates[1:]))


def draft_cosine(settings: Embedding, shards: Sequence[Shard]) -> float:
    """Return the least cosine between a picture's embeddings by draft and by exact decoding."""
    found = []
    for decoding in ("exact", "draft"):
        chosen = settings.model_copy(update={"decoding": decoding})
        model = ClipModel(chosen)
        batch = next(batches(shards[0], model.preparation, chosen))
        found.append(model.images(model.moved(batch.pixels)))
    return float((found[0] * found[1]).sum(axis=1).min())


def decoding_alone(settings: Embedding, shards: Sequence[Shard], decoding: str) -> float:
    """Return the seconds of reading, decoding, resizing and tokenising on all cores, without a model."""
    cores, chosen = os.cpu_count() or 1, settings.model_copy(update={"decoding": decoding})
    parts = [(chosen, part) for at in range(cores) if (part := shards[at::cores])]
    return max(processes.at_once(_decode_all, parts))


def _decode_all(part: tuple[Embedding, Sequence[Shard]], gate: processes.Gate) -> float:
    settings, shards = part
    preparation = ClipModel(settings).preparation
    next(batches(shards[0], preparation, settings))
    gate.wait()
    started = time.perf_counter()
    for shard in shards:
        for _ in batches(shard, preparation, settings):
            pass
    return time.perf_counter() - started
