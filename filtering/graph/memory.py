"""What the graph's tasks need: formulas for `plan` and for the memory that Ray reserves."""

import numpy as np
import pyarrow as pa

# Products of two blocks, in bfloat16 and float32, and what reading in chunks holds.
SEARCH_BYTES = 64 << 20


def partition_memory(concepts: pa.Table, dimension: int, k: int) -> list[int]:
    """Return the bytes that each partition's tasks need, by `search_memory_bytes`."""
    partitions = concepts["partition"].to_numpy()
    sizes, guests = (concepts[name].to_numpy() for name in ("size", "guests"))
    count = int(partitions.max(initial=-1)) + 1
    rows, largest = np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.int64)
    np.add.at(rows, partitions, sizes + guests)
    np.maximum.at(largest, partitions, sizes + guests)
    return [search_memory_bytes(int(r), int(c), dimension, k) for r, c in zip(rows, largest, strict=True)]


def search_memory_bytes(rows: int, largest: int, dimension: int, k: int) -> int:
    """Return the peak of a partition's tasks, in bytes.

    Parameters
    ----------
    rows : int
        Rows of the partition, guests included.
    largest : int
        Rows of its largest concept, guests included.
    dimension, k : int

    Notes
    -----
    Searching holds the records as read and the float16 vectors sorted (2 d each, and about 100 bytes of ids), of one
    concept at a time the unit vectors and the centred ones (4 d each), these in bfloat16 (2 d), and what it finds: 24
    bytes a neighbour, twice while parts are put together. Choosing and joining hold up to 2 k edges a row: about 100
    bytes an edge while they are sorted.
    """
    searching = rows * (4 * dimension + 200 + 60 * k) + largest * 14 * dimension
    joining = rows * k * 220
    return max(searching, joining) + SEARCH_BYTES
