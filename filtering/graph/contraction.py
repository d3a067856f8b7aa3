"""Components of a graph that no task holds: its nodes are merged with neighbours, in rounds, until one task can.

A partition joins its own edges first: a node is a component of one, named by its least row, with a weight, its rows; a
link is what joins two of them. In a round every node has a side, by a hash of its name and the round, and a node of one
side is merged into its least neighbour of the other (random mates; Reif 1985, and Karger, Nisan and Parnas 1999). At
least a quarter of the nodes that have links go in a round, on average, and no chain has to be followed.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from filtering.core.csr import Int64Array, inverse_order
from filtering.core.uids import mixed
from filtering.graph.components import Components
from filtering.graph.sharded import ShardGraph, positions
from filtering.runtime.shuffle import Records, packed

# A node and its rows; two nodes that are linked, the lesser first; a border row and its node, asked or told.
WEIGHT = np.dtype([("node", "<i8"), ("rows", "<i8")])
LINK = np.dtype([("low", "<i8"), ("high", "<i8")])
BORDER = np.dtype([("row", "<i8"), ("node", "<i8"), ("own", "?")])
# What a node may be merged into (-1: nothing), as the links of a bucket have it; and what it is merged into.
OFFER = np.dtype([("node", "<i8"), ("into", "<i8"), ("sender", "<i4")])
MERGED = np.dtype([("node", "<i8"), ("into", "<i8")])


def bucket_of(ids: Int64Array, buckets: int) -> Int64Array:
    """Return the bucket of rows or nodes, int64 (n,)."""
    return (mixed(ids.astype(np.uint64)) % np.uint64(buckets)).astype(np.int64)


def link_bucket(links: Records, buckets: int) -> Int64Array:
    """Return the bucket of links, LINK (n,): those of one node are in many."""
    both = links["low"].astype(np.uint64) ^ mixed(links["high"].astype(np.uint64))
    return bucket_of(both.astype(np.int64), buckets)


def contracted(graph: ShardGraph) -> tuple[Records, Records]:
    """Return the nodes of a partition, WEIGHT (c,), and what it tells and asks of rows at its border, BORDER (b,).

    Of an edge between partitions, the end with the greater id asks for the node of the other one.
    """
    source = np.repeat(np.arange(len(graph.row)), np.diff(graph.indptr))
    target = positions(graph.row, graph.indices)
    order = np.argsort(graph.row)
    place = inverse_order(order)
    here = target >= 0
    joined = Components(len(graph.row))
    # In the order of ids: the root of a component is its least row.
    joined.join(place[source[here]], place[target[here]])
    node = graph.row[order][joined.roots()][place]
    own, other = source[~here], graph.indices[~here]
    told = np.unique(own[graph.row[own] < other])
    asks = graph.row[own] > other
    row, of = _distinct(other[asks], node[own[asks]])
    names, rows = np.unique(node, return_counts=True)
    columns = {"row": np.concatenate([graph.row[told], row]), "node": np.concatenate([node[told], of])}
    is_own = np.arange(len(told) + len(row)) < len(told)
    return packed(WEIGHT, node=names, rows=rows), packed(BORDER, **columns, own=is_own)


def links_between(border: Records) -> Records:
    """Return the links, LINK (m,), that the partitions of border rows have to each other; all of a row are here."""
    own = border[border["own"]]
    asked = border[~border["own"]]
    told = np.argsort(own["row"])
    there = own["node"][told][np.searchsorted(own["row"][told], asked["row"])] if len(asked) else asked["node"]
    return distinct_links(asked["node"], there)


def distinct_links(left: Int64Array, right: Int64Array) -> Records:
    """Return links between nodes, LINK (m,), sorted, each once; none of a node with itself."""
    apart = left != right
    low, high = _distinct(np.minimum(left, right)[apart], np.maximum(left, right)[apart])
    return packed(LINK, low=low, high=high)


def _distinct(first: Int64Array, second: Int64Array) -> tuple[Int64Array, Int64Array]:
    """Return pairs sorted by their first and second number, each once."""
    order = np.lexsort((second, first))
    first, second = first[order], second[order]
    new = np.r_[True, (first[1:] != first[:-1]) | (second[1:] != second[:-1])][: len(first)]
    return first[new], second[new]


def offers(links: Records, number: int, sender: int) -> Records:
    """Return what the nodes of some links may be merged into in a round, OFFER (n,): each node of theirs once."""
    nodes = np.unique(np.concatenate([links["low"], links["high"]]))
    moves = _moves(links, number)
    into = np.full(len(nodes), np.iinfo(np.int64).max)
    np.minimum.at(into, np.searchsorted(nodes, moves["node"]), moves["into"])
    into[into == np.iinfo(np.int64).max] = -1
    return packed(OFFER, node=nodes, into=into, sender=np.full(len(nodes), sender, np.int32))


def _moves(links: Records, number: int) -> Records:
    """Return the merges that links allow: of a node that stays with one that goes."""
    salt = mixed(np.array([number], np.uint64))
    low, high = ((mixed(links[name].astype(np.uint64) ^ salt) & np.uint64(1)).astype(bool) for name in ("low", "high"))
    goes = np.concatenate([links["high"][low & ~high], links["low"][high & ~low]])
    stays = np.concatenate([links["low"][low & ~high], links["high"][high & ~low]])
    return packed(MERGED, node=goes, into=stays)


def merged(found: Records) -> Records:
    """Return what the nodes of some offers, of which all of a node are here, are merged into: MERGED (n,), sorted."""
    order = np.lexsort((np.where(found["into"] < 0, np.iinfo(np.int64).max, found["into"]), found["node"]))
    nodes, first = np.unique(found["node"][order], return_index=True)
    into = found["into"][order][first]
    return packed(MERGED, node=nodes, into=np.where(into < 0, nodes, into))


def target_of(nodes: npt.NDArray[Any], merges: Records) -> Int64Array:
    """Return what nodes are merged into, int64 (n,): themselves where `merges`, sorted, have them not."""
    if not len(merges):
        return np.asarray(nodes, np.int64)
    at = np.minimum(np.searchsorted(merges["node"], nodes), len(merges) - 1)
    return np.where(merges["node"][at] == nodes, merges["into"][at], nodes)


def summed(weights: Records) -> Records:
    """Return the weights of nodes, WEIGHT (n,), sorted, each node once."""
    nodes, group = np.unique(weights["node"], return_inverse=True)
    rows = np.zeros(len(nodes), np.int64)
    np.add.at(rows, group, weights["rows"])
    return packed(WEIGHT, node=nodes, rows=rows)


def component_sizes(links: Records, weights: Records) -> Int64Array:
    """Return the rows of each component of linked nodes, int64 (c,); `weights`, sorted, are those of all nodes."""
    joined = Components(len(weights))
    joined.join(*(np.searchsorted(weights["node"], links[name]) for name in ("low", "high")))
    sizes = np.zeros(len(weights), np.int64)
    np.add.at(sizes, joined.roots(), weights["rows"])
    return sizes[sizes > 0]
