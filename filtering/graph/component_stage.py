"""The components of a graph too large for one task, counted by partitions and then in rounds over buckets of nodes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from typing_extensions import TypedDict

from filtering.graph.artifacts import read_graph
from filtering.graph.contraction import (
    BORDER,
    LINK,
    MERGED,
    OFFER,
    WEIGHT,
    bucket_of,
    component_sizes,
    contracted,
    distinct_links,
    link_bucket,
    links_between,
    merged,
    offers,
    summed,
    target_of,
)
from filtering.graph.tasks import ComponentCounts
from filtering.runtime.shuffle import Records, read_groups, write_groups
from filtering.runtime.stage import StageRun
from filtering.runtime.stage_objects import consume
from filtering.runtime.task_spec import task
from filtering.storage.store import Store

# Rows whose borders, and nodes whose weights and links, one task holds; and links that the last task joins.
BUCKET_ROWS = 4_000_000
LAST_LINKS = 4_000_000
# What a round writes, and the next one deletes.
NODES, BORDERS, LINKS, HELD, OFFERS, MERGES = ".weights", ".borders", ".links", ".held.npz", ".offers", ".merges"


class Links(TypedDict):
    """The result of a task that writes links: how many."""

    links: int


class Apart(TypedDict):
    """Components that have no link any more: how many, and the rows of the largest."""

    components: int
    largest: int


def count_components(stage: StageRun, present: Sequence[int], rows: int) -> ComponentCounts:
    """Count the connected components of the whole graph of `rows`, of which the partitions `present` have parts.

    Rounds go on until one task can join what links are left; a task holds at most a bucket, whatever the pool.
    """
    store, buckets = stage.store, -(-rows // BUCKET_ROWS)
    numbers = range(buckets)
    stage.map([task(f"contract-{n:08d}", contract, n, buckets, store) for n in present], "partitions contracted")
    borders, names = _named(present, 0, BORDERS), _named(present, 0, NODES)
    stage.map([task(f"link-{n:08d}", link, n, borders, buckets, store) for n in numbers], "buckets linked")
    consume(store, _suffix(0, BORDERS))
    number, apart = 0, list[Apart]()
    while True:
        label, links = f"{number}-{{:08d}}", _named(numbers, number, LINKS)
        offering = [task(f"offer-{label.format(n)}", offer, n, number, links, buckets, store) for n in numbers]
        left = sum(one["links"] for one in stage.map(offering, "buckets of links"))
        consume(store, _suffix(number, LINKS))
        last = left <= LAST_LINKS
        settling = [task(f"settle-{label.format(n)}", settle, n, number, names, buckets, last, store) for n in numbers]
        apart += stage.map(settling, "buckets of components")
        for suffix in (NODES, OFFERS):
            consume(store, _suffix(number, suffix))
        names = _named(numbers, number + 1, NODES)
        if last:
            break
        merging = [task(f"merge-{label.format(n)}", merge, n, number, buckets, store) for n in numbers]
        stage.map(merging, "buckets merged")
        for suffix in (MERGES, HELD):
            consume(store, _suffix(number, suffix))
        number += 1
    apart.append(stage.call("components-left", join_last, number, buckets, store))
    for suffix in (NODES, MERGES, HELD):
        consume(store, _suffix(number + (suffix == NODES), suffix))
    return ComponentCounts(
        components=sum(one["components"] for one in apart), largest_component=max(one["largest"] for one in apart)
    )


def contract(partition: int, buckets: int, store: Store) -> Links:
    """Join a partition's own edges; send its components to their buckets, and its border rows to theirs."""
    graph = read_graph(store, partition)
    weights, border = (np.zeros(0, WEIGHT), np.zeros(0, BORDER)) if graph is None else contracted(graph)
    _send(store, partition, 0, NODES, bucket_of(weights["node"], buckets), weights)
    _send(store, partition, 0, BORDERS, bucket_of(border["row"], buckets), border)
    return Links(links=len(border))


def link(bucket: int, borders: Sequence[str], buckets: int, store: Store) -> Links:
    """Link the components of partitions that share an edge at a row of a bucket."""
    links = links_between(_read(store, borders, bucket, BORDER))
    _send(store, bucket, 0, LINKS, link_bucket(links, buckets), links)
    return Links(links=len(links))


def offer(bucket: int, number: int, names: Sequence[str], buckets: int, store: Store) -> Links:
    """Tell nodes what the links of a bucket would merge them into, and that they have links at all."""
    records = _read(store, names, bucket, LINK)
    links = distinct_links(records["low"], records["high"])
    store.write_arrays(_name(bucket, number, HELD), {"links": links})
    found = offers(links, number, bucket)
    _send(store, bucket, number, OFFERS, bucket_of(found["node"], buckets), found)
    return Links(links=len(links))


def settle(bucket: int, number: int, names: Sequence[str], buckets: int, last: bool, store: Store) -> Apart:
    """Merge the nodes of a bucket, or none if this is the `last` round; count those that have no link."""
    weights = summed(_read(store, names, bucket, WEIGHT))
    found = _read(store, _named(range(buckets), number, OFFERS), bucket, OFFER)
    if last:
        found["into"] = -1
    merges = merged(found)
    _send(store, bucket, number, MERGES, found["sender"], merges[np.searchsorted(merges["node"], found["node"])])
    linked = np.isin(weights["node"], merges["node"], assume_unique=True)
    left, alone = weights[linked], weights["rows"][~linked]
    left["node"] = target_of(left["node"], merges)
    left = summed(left)
    to = np.zeros(len(left), np.int64) if last else bucket_of(left["node"], buckets)
    _send(store, bucket, number + 1, NODES, to, left)
    return Apart(components=len(alone), largest=int(alone.max(initial=0)))


def merge(bucket: int, number: int, buckets: int, store: Store) -> Links:
    """Let the links of a bucket lead to what their nodes were merged into; each goes to its bucket."""
    links = store.read_arrays(_name(bucket, number, HELD))["links"]
    merges = _read(store, _named(range(buckets), number, MERGES), bucket, MERGED)
    merges = merges[np.argsort(merges["node"])]
    found = distinct_links(target_of(links["low"], merges), target_of(links["high"], merges))
    _send(store, bucket, number + 1, LINKS, link_bucket(found, buckets), found)
    return Links(links=len(found))


def join_last(number: int, buckets: int, store: Store) -> Apart:
    """Count the components of all links that are left."""
    links = np.concatenate([store.read_arrays(_name(n, number, HELD))["links"] for n in range(buckets)])
    weights = summed(_read(store, _named(range(buckets), number + 1, NODES), 0, WEIGHT))
    sizes = component_sizes(links, weights)
    return Apart(components=len(sizes), largest=int(sizes.max(initial=0)))


def _suffix(number: int, suffix: str) -> str:
    return f".round-{number}{suffix}"


def _name(bucket: int, number: int, suffix: str) -> str:
    return f"{bucket:08d}{_suffix(number, suffix)}"


def _named(buckets: Sequence[int], number: int, suffix: str) -> list[str]:
    return [_name(bucket, number, suffix) for bucket in buckets]


def _send(
    store: Store, bucket: int, number: int, suffix: str, groups: npt.NDArray[np.integer[Any]], records: Records
) -> None:
    write_groups(store, _name(bucket, number, suffix), groups, records.dtype, records.__getitem__)


def _read(store: Store, names: Sequence[str], bucket: int, dtype: np.dtype[np.void]) -> Records:
    found = read_groups(store, names, bucket)
    return np.zeros(0, dtype) if found is None else found
