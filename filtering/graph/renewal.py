"""A partition's part of the graph, renewed: the edges of a base that still hold, and those that rows chose again."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from filtering.core.csr import Int64Array
from filtering.core.errors import RunError
from filtering.graph.joining import CHOSEN, CHOSEN_BY
from filtering.graph.sharded import EDGE, Nodes, ShardGraph, positions
from filtering.runtime.shuffle import Records, packed


@dataclass(frozen=True, slots=True)
class Earlier:
    """A partition's part of a base's graph.

    Attributes
    ----------
    graph : its part, in today's row ids, -1 for rows that are gone.
    chosen : uint8 (nnz,), as `joined_part` returns it.
    """

    graph: ShardGraph
    chosen: npt.NDArray[np.uint8]


def remaining_nodes(earlier: Earlier, searched: npt.NDArray[np.bool_]) -> Nodes:
    """Return a base's rows of the concepts that are not searched again; those of others are sent by their shards."""
    graph = earlier.graph
    here = ~searched[graph.concept]
    return Nodes(graph.row[here], graph.uid[here], graph.concept[here])


def joined_nodes(remaining: Nodes, sent: Nodes) -> Nodes:
    """Return rows of different concepts together, sorted by concept and uid."""
    row, uid, concept = (
        np.concatenate([getattr(remaining, name), getattr(sent, name)]) for name in ("row", "uid", "concept")
    )
    order = np.lexsort((uid, concept))
    return Nodes(row[order], uid[order], concept[order])


def remaining_edges(earlier: Earlier, again: Int64Array) -> Records:
    """Return the edges of a base, EDGE (m,), that were chosen by rows which do not choose again.

    Parameters
    ----------
    earlier : Earlier
        The partition's part of the base's graph.
    again : int64 (a,)
        The rows that choose again, of this partition and of all that it shares edges with; unique.

    Raises
    ------
    RunError
        If a row that does not choose again chose one that is gone: the base does not fit today's pool.
    """
    graph, chosen = earlier.graph, earlier.chosen
    row, target = np.repeat(graph.row, np.diff(graph.indptr)), graph.indices
    own, others = (positions(again, ids) >= 0 for ids in (row, target))
    outwards = (chosen & CHOSEN > 0) & (row >= 0) & ~own
    inwards = (chosen & CHOSEN_BY > 0) & (row >= 0) & (target >= 0) & ~others
    if (target[outwards] < 0).any():
        raise RunError("a sample of the base has a neighbour that is gone, and is not searched again; take no base")
    left = packed(EDGE, source=row[outwards], target=target[outwards], distance=graph.distances[outwards])
    right = packed(EDGE, source=target[inwards], target=row[inwards], distance=graph.distances[inwards])
    return np.concatenate([left, right])


def same_part(earlier: Earlier, graph: ShardGraph, chosen: npt.NDArray[np.uint8]) -> bool:
    """Say whether a renewed part is the base's."""
    names = ("row", "uid", "concept", "indptr", "indices", "distances")
    before = earlier.graph
    return np.array_equal(earlier.chosen, chosen) and all(
        np.array_equal(getattr(before, name), getattr(graph, name)) for name in names
    )
