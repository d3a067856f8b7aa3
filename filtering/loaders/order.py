"""Which epoch a pass through the pool is, and which shards a worker reads in it, in which order."""

import os
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, islice

import torch.distributed
import torch.utils.data

from filtering.core.errors import InputError
from filtering.manifests.finished import Source

MOST_WORKERS = 128


@dataclass(frozen=True, slots=True)
class Seat:
    """One of the processes that share an epoch: a worker of a DataLoader on a node.

    `rank` of `nodes` as torch.distributed counts them, `worker` of `workers` of a node: 0 of 1 where there is no
    DataLoader, which `loading` tells.
    """

    rank: int = 0
    nodes: int = 1
    worker: int = 0
    workers: int = 1
    loading: bool = False

    @property
    def seats(self) -> int:
        """All processes that read."""
        return self.nodes * self.workers

    @property
    def first(self) -> bool:
        """Whether this one speaks for all."""
        return self.rank == self.worker == 0


@dataclass(frozen=True, slots=True)
class Order:
    """How epochs go through the shards.

    Where they are shuffled, seed and epoch decide the order, which is the same on every node. Where they are resampled,
    each worker draws them with replacement, without end, as often as `weights` say, one a shard.
    """

    shuffled: bool = False
    seed: int = 0
    resampled: bool = False
    weights: tuple[float, ...] | None = None

    def shards(self, sources: Sequence[Source], epoch: int, seat: Seat) -> Iterator[Source]:
        """Return the shards that a process reads in an epoch; without end where they are resampled."""
        if self.resampled:
            return self._drawn(sources, epoch, seat)
        of_node = self.of_node(sources, epoch, seat.rank, seat.nodes)
        return islice(of_node, seat.worker, None, seat.workers)

    def of_node(self, sources: Sequence[Source], epoch: int, rank: int, nodes: int) -> Iterator[Source]:
        """Return the shards that a node reads in an epoch: every `nodes`-th of the order, from its rank on."""
        ordered = list(sources)
        if self.shuffled:
            random.Random(f"{self.seed}/{epoch}").shuffle(ordered)
        return islice(ordered, rank, None, nodes)

    def generator(self, epoch: int, seat: Seat, use: str) -> random.Random:
        """Return random numbers that no other process, no other epoch and no other use has."""
        return random.Random(f"{self.seed}/{epoch}/{seat.rank}/{seat.worker}/{use}")

    def _drawn(self, sources: Sequence[Source], epoch: int, seat: Seat) -> Iterator[Source]:
        generator = self.generator(epoch, seat, "shards")
        heights = None if self.weights is None else list(accumulate(self.weights))
        while True:
            yield from generator.choices(sources, cum_weights=heights)


class Epochs:
    """Counts passes from 0; `set_value` says which epoch the next one is, in the loop and in its workers.

    Workers are often started anew for every epoch, with a copy of what the loop has, so the count lies in shared
    memory. Every worker counts for itself, and apart from those of a loader with more or fewer workers and from a
    loop that reads without any: all workers of one loader begin the same epoch, whoever read the pipeline before.
    It has the methods of open_clip's shared epoch and can stand in for it.
    """

    def __init__(self) -> None:
        # Row 0 is a loop without workers.
        self._next = torch.zeros((MOST_WORKERS + 1, MOST_WORKERS), dtype=torch.int64)
        self._next.share_memory_()  # type: ignore[no-untyped-call]

    def begin(self, seat: Seat) -> int:
        """Return the epoch of a pass that begins; InputError if a loader has too many workers to count."""
        if seat.workers > MOST_WORKERS:
            raise InputError(f"a loader of {seat.workers} workers; at most {MOST_WORKERS} can be told their epoch")
        row = seat.workers if seat.loading else 0
        epoch = int(self._next[row, seat.worker])
        self._next[row, seat.worker] = epoch + 1
        return epoch

    def set_value(self, epoch: int) -> None:
        """Say which epoch the next pass is."""
        self._next.fill_(epoch)

    def get_value(self) -> int:
        """Return the epoch of the next pass, the latest where workers are at different ones."""
        return int(self._next.max())


def checked_weights(weights: Sequence[float] | str | None, visits: Sequence[Source]) -> tuple[float, ...] | None:
    """Return the weights of resampling, one a visit; InputError if they are not one for each shard, or no weights.

    `visits` are the reads of an epoch, of which a shard has several where its samples are repeated.
    """
    if weights is None:
        return None
    if isinstance(weights, str):
        if weights != "kept":
            raise InputError(f'weights: "{weights}" is unknown; "kept", or a number for each shard')
        return tuple(float(visit.kept) for visit in visits)
    shards = [visit.shard.index for visit in visits if not visit.time]
    try:
        given = tuple(float(weight) for weight in weights)
    except (TypeError, ValueError):
        # Refused as too few are.
        given = ()
    if len(given) != len(shards) or min(given) < 0 or not 0 < sum(given) < float("inf"):
        raise InputError(f"weights: {len(shards)} shards keep anything; each needs one number, 0 or more, not all 0")
    by_shard = dict(zip(shards, given, strict=True))
    return tuple(by_shard[visit.shard.index] for visit in visits)


def this_seat(node: tuple[int, int] | None = None) -> Seat:
    """Return the seat of this process: RANK and WORLD_SIZE, else torch.distributed, and the DataLoader's worker.

    `node` is the rank and the number of nodes where neither says it.
    """
    found = this_node() or node or (0, 1)
    worker = torch.utils.data.get_worker_info()
    return Seat(*found) if worker is None else Seat(*found, worker.id, worker.num_workers, loading=True)


def this_node() -> tuple[int, int] | None:
    """Return rank and number of nodes, None if nothing says so: a process that was spawned has no process group."""
    if "RANK" in os.environ and "WORLD_SIZE" in os.environ:
        return int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return None
