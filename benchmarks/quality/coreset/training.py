"""Training from scratch for a fixed number of iterations, on one thread or one GPU, and what a network gets right.

Everything is in memory and batches are cut by indexing; SGD with momentum under a one-cycle rate. Epochs of a coreset
are shuffled one after the other, so that every coreset gives as many steps.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.quality.coreset.data import Labelled
from benchmarks.quality.coreset.network import Network, network

# Of all training pixels, in units of the brightest.
MEAN, DEVIATION = 0.286, 0.353
EVALUATED = 2_000


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long and how fast: iterations, samples a batch, highest rate, momentum, decay, share of warming up."""

    iterations: int = 1_200
    batch: int = 128
    rate: float = 0.1
    momentum: float = 0.9
    decay: float = 5e-4
    warming: float = 0.3


Watcher = Callable[[Network], None]


def device() -> str:
    """Return cuda where there is one."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def tensors(data: Labelled, place: str) -> tuple[Tensor, Tensor]:
    """Return standardised images, float32 (n, 1, 28, 28), channels last, and classes, int64 (n,)."""
    images = (torch.from_numpy(data.images.astype(np.float32)) / 255 - MEAN) / DEVIATION
    pictures = images[:, None].to(place, memory_format=torch.channels_last)
    return pictures, torch.from_numpy(data.labels).to(place)


def trained(data: Labelled, schedule: Schedule, seed: int, watch: Watcher | None = None, looks: int = 1) -> Network:
    """Return a network trained on the data; `watch` sees it so many times an epoch."""
    torch.manual_seed(seed)
    place = device()
    made, (images, labels) = network(place).train(), tensors(data, place)
    optimiser, cycle = _optimiser(made, schedule)
    for step, rows in enumerate(_batches(len(data), schedule, seed)):
        optimiser.zero_grad()
        functional.cross_entropy(made(images[rows]), labels[rows]).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        cycle.step()
        seen = (step + 1) * schedule.batch * looks // len(data)
        if watch is not None and seen > step * schedule.batch * looks // len(data):
            watch(made)
    return made.eval()


def outputs(made: Network, data: Labelled) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return logits, float32 (n, classes), and features, float32 (n, d), of a network as in use."""
    images, _ = tensors(data, device())
    was_training = made.training
    made.eval()
    with torch.no_grad():
        features = torch.cat([made.body(images[at : at + EVALUATED]) for at in range(0, len(data), EVALUATED)])
        logits = made.head(features)
    made.train(was_training)
    return logits.cpu().numpy(), features.cpu().numpy()


def accuracy(made: Network, data: Labelled) -> float:
    """Return the share of images whose class the network names."""
    logits, _ = outputs(made, data)
    return float((logits.argmax(axis=1) == data.labels).mean())


def _optimiser(made: Network, schedule: Schedule) -> tuple[torch.optim.SGD, torch.optim.lr_scheduler.OneCycleLR]:
    optimiser = torch.optim.SGD(
        made.parameters(),
        lr=schedule.rate,
        momentum=schedule.momentum,
        weight_decay=schedule.decay,
        nesterov=True,
        fused=True,
    )
    cycle = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, schedule.rate, schedule.iterations, pct_start=schedule.warming, cycle_momentum=False
    )
    return optimiser, cycle


def _batches(count: int, schedule: Schedule, seed: int) -> Iterator[Tensor]:
    random = np.random.default_rng(seed)
    epochs = -(-schedule.iterations * schedule.batch // count)
    rows = torch.from_numpy(np.concatenate([random.permutation(count) for _ in range(epochs)]))
    for at in range(schedule.iterations):
        yield rows[at * schedule.batch : (at + 1) * schedule.batch]
