"""The search for candidates on a GPU, by torch: blocks of float32 products, and the largest of each row."""

import numpy as np

from filtering.concepts.nearest import Float32Array, Int32Array

# Products held on the device at once, in float32: 256 MB.
BLOCK_PRODUCTS = 1 << 26


def device_candidates(vectors: Float32Array, own: int, width: int, device: str) -> Int32Array:
    """Return the nearest candidates of each member, int32 (m, width), as `pairs.member_neighbours` wants them.

    Those of the own rows are among all members, those of the replicas among the own rows.
    `vectors`, float32 (m, d), are the concept's own rows, then its replicas, relative to their mean; candidates are
    places in it, nearest first, -1 where there are fewer. torch computes on `device`: cuda, or cpu.
    """
    import torch

    rows = torch.from_numpy(vectors).to(device)
    halves = (rows * rows).sum(dim=1) / 2
    found = np.full((len(vectors), width), -1, dtype=np.int32)
    for first, last, columns in ((0, own, len(vectors)), (own, len(vectors), own)):
        count, step = min(width, columns), max(1, BLOCK_PRODUCTS // max(columns, 1))
        for start in range(first, last, step):
            stop = min(start + step, last)
            near = torch.addmm(-halves[:columns], rows[start:stop], rows[:columns].T)
            # No row is its own neighbour; replicas are not among the columns.
            near[:, start:stop].fill_diagonal_(-torch.inf)
            values, places = near.topk(count, dim=1)
            there = torch.where(torch.isinf(values), -1, places)
            found[start:stop, :count] = there.to(torch.int32).cpu().numpy()
    return found
