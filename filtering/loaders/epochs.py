"""Which epoch a pass through the pool is: a count that a training loop shares with its DataLoader's workers."""

import torch

from filtering.core.errors import InputError
from filtering.loaders.order import Seat

MOST_WORKERS = 128


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
