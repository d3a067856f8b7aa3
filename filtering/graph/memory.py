"""The memory of the graph's tasks: formulas for `plan` and for what Ray reserves."""

import numpy as np
import pyarrow as pa

from filtering.concepts.artifacts import replica_counts
from filtering.core.spare_neighbours import listed_count
from filtering.graph.products import SPARE_CANDIDATES

# Products of two blocks, and what reading in chunks holds.
SEARCH_BYTES = 64 << 20


def partition_memory(concepts: pa.Table, dimension: int, k: int) -> list[int]:
    """Return the bytes that each partition's tasks need, by `search_memory_bytes`."""
    partitions = concepts["partition"].to_numpy()
    members = concepts["size"].to_numpy() + replica_counts(concepts)
    count = int(partitions.max(initial=-1)) + 1
    rows, largest = np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.int64)
    np.add.at(rows, partitions, members)
    np.maximum.at(largest, partitions, members)
    return [search_memory_bytes(int(r), int(c), dimension, k) for r, c in zip(rows, largest, strict=True)]


def search_memory_bytes(rows: int, largest: int, dimension: int, k: int) -> int:
    """Return the peak of a partition's tasks, in bytes; `rows` and `largest`, its largest concept, include replicas.

    Notes
    -----
    Reading holds the records as they come and their columns sorted (2 d each, and about 110 bytes of ids). Searching
    holds the float16 vectors, those in steps (2 d each), and what it finds: 16 bytes a neighbour, 24 on its way; of one
    concept at a time again those in steps, rotated (4 d) and in bytes (d), and 8 bytes for each candidate. Choosing and
    joining hold up to 2 k edges a row: about 100 bytes an edge while they are sorted.
    """
    reading = 4 * dimension + 220
    listed = listed_count(k)
    searching = 4 * dimension + 110 + 60 * listed
    candidates = listed + max(SPARE_CANDIDATES.values())
    searched = rows * max(reading, searching) + largest * (7 * dimension + 16 * listed + 8 * candidates + 100)
    joining = rows * k * 220
    return max(searched, joining) + SEARCH_BYTES
