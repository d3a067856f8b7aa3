"""Tasks that cut oversized concepts into sections: sample their rows, then decide where each is cut."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from filtering.concepts.artifacts import MARGIN, REPLICATION, read_sections
from filtering.concepts.nearest import Int32Array
from filtering.concepts.sections import Cut, cut_of, cut_rows
from filtering.core.errors import InputError
from filtering.core.uids import sampled
from filtering.filters.artifacts import PassingShard
from filtering.runtime.shuffle import packed, read_groups, write_groups
from filtering.storage.store import Store

CUT_SAMPLE_SUFFIX = ".cut"
CUT_SAMPLE_NAME = "{}" + CUT_SAMPLE_SUFFIX
CUT_SEED = 5
# Rows that are sampled of a section, and of a concept at most: a task holds the latter.
SECTION_SAMPLE, MOST_SAMPLED = 128, 65_536
# The place of the rows of a centroid, in `REPLICATION`.
CELLS, CUT_NAME = "cut", "cut{}.{}"


def sample_oversized(shard: PassingShard, home: str, largest: int, store: Store) -> int:
    """Send a sample of a shard's rows in oversized concepts; `home` names the object with their nearest centroids.

    Returns how many rows are sent.
    """
    sizes = store.read_arrays(MARGIN)["sizes"]
    cells = store.read_arrays(home)
    nearest = cells["concepts"][:, 0] if len(cells["row"]) else np.zeros(0, dtype=np.int32)
    oversized = np.flatnonzero(sizes[nearest] > largest)
    share = np.minimum(SECTION_SAMPLE / largest, MOST_SAMPLED / np.maximum(sizes[nearest[oversized]], 1))
    uids = shard.uids(cells["row"][oversized])
    chosen = np.zeros(len(oversized), dtype=bool)
    for one in np.unique(share).tolist():
        chosen |= (share == one) & sampled(uids, one, CUT_SEED)
    rows = oversized[chosen]
    if len(rows) == 0:
        return 0
    vectors = shard.vectors(cells["row"][rows])
    dtype = np.dtype([("uid", "S32"), ("vector", "<f2", (vectors.shape[1],))])
    records = packed(dtype, uid=uids[chosen], vector=vectors)
    write_groups(store, CUT_SAMPLE_NAME.format(shard.identity), nearest[rows], dtype, records.__getitem__)
    return len(rows)


def cut_oversized(names: Sequence[str], largest: int, store: Store) -> int:
    """Decide where each oversized concept is cut, and write it beside the margin; return the number of concepts.

    `names` are the objects with the sampled rows. Those of one concept are in memory at a time, 65,536 at most.
    """
    known = store.read_arrays(MARGIN)
    sections, cuts = np.ones(len(known["sizes"]), dtype=np.int32), dict[str, npt.NDArray[np.generic]]()
    cells = list[int]()
    for cell in np.flatnonzero(known["sizes"] > largest).tolist():
        records = read_groups(store, names, cell)
        if records is None:
            continue
        # The order in which shards come must not count.
        vectors = records["vector"][np.argsort(np.ascontiguousarray(records["uid"]), kind="stable")]
        cut = cut_rows(vectors, int(known["sizes"][cell]), largest)
        sections[cell] = cut.sections
        cuts |= {CUT_NAME.format(len(cells), name): array for name, array in cut.arrays().items()}
        cells.append(cell)
    store.write_arrays(REPLICATION, known | {"sections": sections, CELLS: np.array(cells, dtype=np.int32)} | cuts)
    return int(sections.sum())


def read_cuts(store: Store) -> dict[int, Cut]:
    """Return where concepts are cut, by centroid; InputError if an older version cut them in another way."""
    found = store.read_arrays(REPLICATION)
    if CELLS not in found and (found["sections"] > 1).any():
        raise InputError(
            f"{store.path(REPLICATION)}: an older version of filtering cut large concepts in another way; set "
            "concepts.refit to true once, or set no base"
        )
    return {
        cell: cut_of({name: found[CUT_NAME.format(at, name)] for name in Cut.__slots__})
        for at, cell in enumerate(found.get(CELLS, np.zeros(0, np.int32)).tolist())
    }


def read_copies(store: Store) -> list[range]:
    """Return the concepts that hold the copies of one vector, a range for each vector that many rows have."""
    starts = np.concatenate([[0], np.cumsum(read_sections(store))])
    groups = []
    for cell, cut in read_cuts(store).items():
        for first, count in zip(cut.first.tolist(), cut.count.tolist(), strict=True):
            groups.append(range(int(starts[cell]) + first, int(starts[cell]) + first + count))
    return groups


@dataclass(frozen=True, slots=True)
class Placed:
    """Where n rows at home in a concept that is cut stand in it."""

    sections: Int32Array  # int32 (n,)
    leaves: Int32Array  # int32 (n,), where rows around them stand
    anchors: npt.NDArray[np.bool_]  # bool (n,), copies of one vector that have a replica in that leaf


def placed(cut: Cut, vectors: npt.NDArray[np.float16], numbers: npt.NDArray[np.uint64]) -> Placed:
    """Return where rows stand; `numbers`, uint64 (n,), follow from uids and decide among the copies of one vector."""
    leaves, copies = cut.leaves(vectors), cut.copies(vectors)
    sections, anchors, many = leaves.copy(), np.zeros(len(leaves), dtype=bool), copies >= 0
    of, drawn = copies[many], numbers[many]
    sections[many] = cut.first[of] + (drawn % cut.count[of].astype(np.uint64)).astype(np.int32)
    anchors[many] = (drawn >> np.uint64(32)) % cut.every[of].astype(np.uint64) == 0
    return Placed(sections, leaves, anchors)
