"""Trains one model from scratch for a number of steps, whatever the number of pairs."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from benchmarks.lib.contrastive import contrastive_loss, warm_cosine
from benchmarks.quality.pool.towers import Clip

BATCH, PEAK_RATE, WARM_UP, WEIGHT_DECAY, MOST_SCALE = 128, 2e-3, 50, 0.1, math.log(100)
MOST_SHIFT = 2


@dataclass(frozen=True, slots=True)
class Pairs:
    """Pictures, uint8 (n, 3, 32, 32), and their captions' tokens, int64 (n, m)."""

    images: Tensor
    tokens: Tensor

    def rows(self, chosen: Tensor) -> "Pairs":
        """Return some of them, by their rows."""
        return Pairs(self.images[chosen], self.tokens[chosen])


def trained(pairs: Pairs, steps: int, seed: int) -> Clip:
    """Return a model that has seen `steps` batches, in evaluation mode."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    model = Clip().to(memory_format=torch.channels_last)
    adam = torch.optim.AdamW(model.parameters(), lr=PEAK_RATE, weight_decay=WEIGHT_DECAY, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(adam, lambda step: warm_cosine(step, steps, WARM_UP))
    model.train()
    for batch in _batches(pairs, steps, seed):
        loss = _loss(model, batch)
        adam.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        adam.step()
        schedule.step()
        with torch.no_grad():
            model.scale.clamp_(0, MOST_SCALE)
    return model.eval()


def _loss(model: Clip, batch: Pairs) -> Tensor:
    return contrastive_loss(model.scale.exp() * model.images(batch.images) @ model.texts(batch.tokens).T)


def _batches(pairs: Pairs, steps: int, seed: int) -> Iterator[Pairs]:
    """Yield shuffled epochs one after another; batches cross their borders."""
    random = np.random.default_rng((seed, 8))
    count = len(pairs.tokens)
    epochs = -(-steps * BATCH // count)
    order = np.concatenate([random.permutation(count) for _ in range(epochs)])
    for rows in order[: steps * BATCH].reshape(steps, BATCH):
        batch = pairs.rows(torch.from_numpy(rows))
        shift = random.integers(-MOST_SHIFT, MOST_SHIFT + 1, 2).tolist()
        yield Pairs(torch.roll(batch.images, shift, (2, 3)), batch.tokens)
