"""The sharded graph: neighbours found inside concepts, the k nearest chosen, their edges sent to where they end."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit
from typing_extensions import TypedDict

from filtering.concepts.partition import Partition
from filtering.core.csr import Int64Array, KnnGraph, row_pointers
from filtering.core.parsing import Count
from filtering.embedding.artifacts import unit_steps
from filtering.graph.pairs import member_neighbours
from filtering.graph.products import Kind
from filtering.runtime.shuffle import Records, packed, runs

Float32Array = npt.NDArray[np.float32]
Int32Array = npt.NDArray[np.int32]

# A neighbour of `row`, found in some concept, on its way to the row's partition; `home` is the neighbour's own concept.
FOUND = np.dtype([("row", "<i8"), ("neighbour", "<i8"), ("home", "<i4"), ("distance", "<f4")])
# An edge that was chosen, on its way to the partitions of both ends.
EDGE = np.dtype([("source", "<i8"), ("target", "<i8"), ("distance", "<f4")])


@dataclass(frozen=True, slots=True)
class Nodes:
    """The own rows of a partition, sorted by concept and id.

    Whoever takes the first of equal rows takes that which all of them have for a neighbour: of equally far neighbours
    a row has those that come first in the pool.
    """

    row: Int64Array  # int64 (n,), global ids
    uid: npt.NDArray[np.bytes_]  # bytes S32 (n,)
    concept: Int32Array  # int32 (n,)


@dataclass(frozen=True, slots=True)
class ShardGraph(Nodes):
    """One partition's part of the graph: its own rows, and a CSR whose neighbours are global row ids."""

    indptr: Int64Array  # int64 (n + 1,)
    indices: Int64Array  # int64 (nnz,), global ids, ascending within a row; some lie in other partitions
    distances: Float32Array  # float32 (nnz,), squared Euclidean


def own_nodes(partition: Partition) -> Nodes:
    """Return the rows that are at home in a partition."""
    home = partition.concept == partition.home[partition.place]
    own = partition.place[home]
    return Nodes(partition.row[own], partition.uid[own], partition.home[own])


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The nearest neighbours of n rows, as far as they are known."""

    ids: Int64Array  # int64 (n, k), global ids, nearest first, equally far ones by id; -1 where there is none
    homes: Int32Array  # int32 (n, k), the neighbours' own concepts
    distances: Float32Array  # float32 (n, k), squared Euclidean, infinite where there is no neighbour

    @classmethod
    def none(cls, rows: int, k: int) -> "Neighbours":
        """Return lists without neighbours."""
        ids, homes = np.full((rows, k), -1, dtype=np.int64), np.full((rows, k), -1, dtype=np.int32)
        return cls(ids, homes, np.full((rows, k), np.inf, dtype=np.float32))

    def divided(self, k: int) -> tuple["Neighbours", "Neighbours"]:
        """Return the first k of each row, and the others."""
        parts = [np.s_[:, :k], np.s_[:, k:]]
        near, far = (Neighbours(self.ids[part], self.homes[part], self.distances[part]) for part in parts)
        return near, far


def found_neighbours(
    partition: Partition, k: int, device: str = "cpu", kind: Kind | None = None
) -> tuple[Neighbours, int]:
    """Search every concept of a partition; return what its rows and replicas found, and the distances computed.

    `device` and `kind` are those of `member_neighbours`, and change nothing in what is found.

    Notes
    -----
    A row's neighbours in one concept are the k nearest by (distance, global id), and the k nearest by the same order of
    what all concepts found are kept. A distance depends on the two rows alone. So a row's neighbours are the k nearest
    of all rows that it met anywhere: whichever concepts are searched first, and whether in this run or in an earlier
    one from whose neighbours none is gone. Global ids order equally far ones, since records have them, and not uids;
    between runs they keep their order where the inventory's shards keep theirs.
    """
    found, pairs = Neighbours.none(len(partition.row), k), 0
    steps = unit_steps(partition.vectors)
    for members in runs(partition.concept):
        place = partition.place[members]
        own = int((partition.home[place] == partition.concept[members.start]).sum())
        neighbours, distances = member_neighbours(steps[place], own, k, partition.row[place], kind, device)
        at, column = np.nonzero(neighbours >= 0)
        other = place[neighbours[at, column]]
        columns = (place[at], partition.row[other], partition.home[other], distances[at, column])
        _offer(*columns, found.ids, found.homes, found.distances)
        pairs += own * (own - 1) // 2 + own * (len(place) - own)
    return found, pairs


def found_records(ids: Int64Array, homes: Int32Array, found: Neighbours) -> tuple[Records, Int32Array]:
    """Return what rows found as records, FOUND (m,), and the concept of each record's row, which tells where it goes.

    `ids`, int64 (n,), are the rows, and `homes`, int32 (n,), their own concepts.
    """
    at, column = np.nonzero(found.ids >= 0)
    columns: dict[str, npt.NDArray[Any]] = {"neighbour": found.ids[at, column], "home": found.homes[at, column]}
    return packed(FOUND, row=ids[at], distance=found.distances[at, column], **columns), homes[at]


def chosen_neighbours(nodes: Nodes, records: Records, k: int) -> Neighbours:
    """Return the k nearest of all that was found for a partition's own rows."""
    found = Neighbours.none(len(nodes.row), k)
    columns = (np.ascontiguousarray(records[name]) for name in ("neighbour", "home", "distance"))
    _offer(positions(nodes.row, records["row"]), *columns, found.ids, found.homes, found.distances)
    return found


def outgoing_edges(
    nodes: Nodes, chosen: Neighbours, partition_of: Int32Array, partition: int
) -> tuple[Records, Int32Array]:
    """Return the edges that were chosen and the partition each goes to: its target's, and its source's if another.

    Edges are EDGE (m,), once for each partition that an edge goes to; partitions int32 (m,).
    """
    at, column = np.nonzero(chosen.ids >= 0)
    columns = {"source": nodes.row[at], "target": chosen.ids[at, column]}
    edges = packed(EDGE, **columns, distance=chosen.distances[at, column])
    return to_both_ends(edges, partition_of[chosen.homes[at, column]], partition)


def to_both_ends(edges: Records, targets: Int32Array, partition: int) -> tuple[Records, Int32Array]:
    """Return edges of a partition's rows, EDGE (n,), and the partition each goes to, as `outgoing_edges`.

    `targets`, int32 (n,), are the partitions of their targets.
    """
    leaving = targets != partition
    here = np.full(int(leaving.sum()), partition, dtype=np.int32)
    return np.concatenate([edges, edges[leaving]]), np.concatenate([targets, here])


def restricted(graph: ShardGraph, rows: npt.NDArray[np.bool_], edges: npt.NDArray[np.bool_]) -> ShardGraph:
    """Return the part of a graph between the rows that stay, bool (n,), and the edges that lead to one, bool (nnz,)."""
    sources = np.repeat(np.arange(len(rows)), np.diff(graph.indptr))
    kept = edges & rows[sources]
    indptr = np.concatenate([[0], np.cumsum(np.bincount(sources[kept], minlength=len(rows))[rows])])
    columns = (graph.row[rows], graph.uid[rows], graph.concept[rows])
    return ShardGraph(*columns, indptr.astype(np.int64), graph.indices[kept], graph.distances[kept])


def inside_concept(graph: ShardGraph, members: slice) -> KnnGraph:
    """Return the edges between the rows of one concept, which stand at `members`."""
    first, last = int(graph.indptr[members.start]), int(graph.indptr[members.stop])
    degrees = np.diff(graph.indptr[members.start : members.stop + 1])
    rows, targets = (
        np.repeat(np.arange(len(degrees)), degrees),
        positions(graph.row[members], graph.indices[first:last]),
    )
    inside = targets >= 0
    indptr = row_pointers(rows[inside], len(degrees))
    # Rows stand by their ids, and so do their neighbours.
    return KnnGraph(indptr, targets[inside], graph.distances[first:last][inside])


def positions(known: Int64Array, ids: Int64Array) -> Int64Array:
    """Return where each id stands in `known` (unique, any order), int64 (m,); -1 where it is not there."""
    found = np.full(len(ids), -1, dtype=np.int64)
    if len(known):
        bits = max(1, (2 * len(known) - 1).bit_length())
        _look_up(known, np.ascontiguousarray(ids), np.full(1 << bits, -1, dtype=np.int64), bits, found)
    return found


class PartStatistics(TypedDict):
    """Counts of a partition's graph.

    `edges` counts both directions; `degrees` counts the nodes by the binary logarithm of their degree: none, 1, 2-3,
    4-7, ...; `crossing` edges lead to other partitions; `carried`: a base's part
    is reused.
    """

    nodes: Count
    edges: Count
    largest_degree: Count
    degrees: list[Count]
    isolated: Count
    crossing: Count
    carried: bool


def statistics(graph: ShardGraph, reused: bool = False) -> PartStatistics:
    """Return counts of a partition's graph; `reused` where it is a base's part."""
    degrees = np.diff(graph.indptr)
    logarithms = np.zeros(len(degrees), dtype=np.int64)
    logarithms[degrees > 0] = np.log2(degrees[degrees > 0]).astype(np.int64) + 1
    return PartStatistics(
        nodes=len(graph.row),
        edges=len(graph.indices),
        largest_degree=int(degrees.max(initial=0)),
        degrees=np.bincount(logarithms).tolist() if len(degrees) else [],
        isolated=int((degrees == 0).sum()),
        crossing=int((positions(graph.row, graph.indices) < 0).sum()),
        carried=reused,
    )


@njit(cache=True)  # type: ignore[untyped-decorator]
def _offer(
    rows: Int64Array,
    candidates: Int64Array,
    candidate_homes: Int32Array,
    lengths: Float32Array,
    ids: Int64Array,
    homes: Int32Array,
    distances: Float32Array,
) -> None:
    """Offer candidates to the lists of some rows; the same pair may come from several concepts, and enters once."""
    k = ids.shape[1]
    for edge in range(len(rows)):
        row, candidate, apart, at = rows[edge], candidates[edge], lengths[edge], k - 1
        if apart > distances[row, at] or (apart == distances[row, at] and candidate >= ids[row, at]):
            continue
        known = False
        for other in range(k):
            known = known or ids[row, other] == candidate
        if known:
            continue
        while at > 0 and (
            apart < distances[row, at - 1] or (apart == distances[row, at - 1] and candidate < ids[row, at - 1])
        ):
            distances[row, at] = distances[row, at - 1]
            ids[row, at] = ids[row, at - 1]
            homes[row, at] = homes[row, at - 1]
            at -= 1
        distances[row, at] = apart
        ids[row, at] = candidate
        homes[row, at] = candidate_homes[edge]


@njit(cache=True)  # type: ignore[untyped-decorator]
def _look_up(known: Int64Array, ids: Int64Array, table: Int64Array, bits: int, found: Int64Array) -> None:
    """Look ids up in an open-addressing hash table: global ids lie too far apart for a plain array."""
    mask, shift = (1 << bits) - 1, np.uint64(64 - bits)
    for at in range(len(known)):
        slot = np.int64((np.uint64(known[at]) * np.uint64(0x9E3779B97F4A7C15)) >> shift)
        while table[slot] >= 0:
            slot = (slot + 1) & mask
        table[slot] = at
    for at in range(len(ids)):
        slot = np.int64((np.uint64(ids[at]) * np.uint64(0x9E3779B97F4A7C15)) >> shift)
        while table[slot] >= 0:
            if known[table[slot]] == ids[at]:
                found[at] = table[slot]
                break
            slot = (slot + 1) & mask
