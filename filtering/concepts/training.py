"""Tasks that train centroids: sample each shard, find coarse groups, cluster each group on its own."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from filtering.concepts.artifacts import QUERIES_NAME
from filtering.concepts.centroid_files import index_named, write_centroids
from filtering.concepts.exact_search import MEASURING_SHARE, QUERIES
from filtering.concepts.kmeans import (
    clustered_group,
    grouped_kmeans,
    member_sums,
    moved_centroids,
    spherical_kmeans,
    twins,
)
from filtering.concepts.nearest import CentroidIndex, Centroids, Int16Array
from filtering.concepts.partition import global_rows
from filtering.core.uids import sampled
from filtering.embedding.artifacts import unit_steps
from filtering.filters.artifacts import PassingShard
from filtering.runtime.shuffle import packed, read_groups, runs, write_groups
from filtering.storage.store import Store

SAMPLE_SUFFIX, SPREAD_SUFFIX, SUMS_SUFFIX = ".sample.npz", ".spread", ".sums"
SAMPLE_NAME = "{}" + SAMPLE_SUFFIX
# A smaller sample, on which the groups are found, and the rows that are searched exactly.
FEW_NAME = "{}.few.npz"
COARSE = "coarse.npz"
SPREAD_NAME = "{}" + SPREAD_SUFFIX
FINE_NAME = "{:08d}.fine.npz"
# The centroids after each round but the last, the sums that move them, and the parts that were moved.
ROUND_NAME = "round{}"
SUMS_NAME = "{}.{}" + SUMS_SUFFIX
MOVED_NAME = "{:08d}.{}.npz"
MOVED_TOGETHER = 1024
# Groups inside a group are numbered from the group's number times this.
MOST_INSIDE = 1 << 10
CONVERTED_AT_ONCE = 16_384
QUERY_SEED, MEASURING_SEED, COARSE_SEED = 1, 2, 4


def sample_shard(shard: PassingShard, share: float, coarse_share: float, seed: int, rows: int, store: Store) -> int:
    """Write the sampled rows of a shard: those to train on, and those to search exactly; uid and seed alone decide.

    Centroids are trained on a `share` of its rows, and coarse groups on `coarse_share`; of the pool's `rows` some
    hundreds are searched exactly. Returns the number of rows on which centroids are trained.
    """
    passing = shard.rows()
    uids = shard.uids(passing)
    chosen = sampled(uids, share, seed)
    few = sampled(uids, coarse_share, seed + COARSE_SEED)
    asked = sampled(uids, QUERIES / max(rows, 1), QUERY_SEED)
    # One pass over the vectors, in the order in which they lie there.
    read = np.flatnonzero(chosen | few | asked)
    vectors = shard.vectors(passing[read]) if len(read) else np.zeros((0, 0), dtype=np.float16)
    store.write_arrays(SAMPLE_NAME.format(shard.identity), {"uid": uids[chosen], "vectors": vectors[chosen[read]]})
    parts = {
        "uid": uids[few],
        "vectors": vectors[few[read]],
        "query_row": global_rows(shard.index, passing[asked]),
        "query_measures": sampled(uids[asked], MEASURING_SHARE, MEASURING_SEED),
        "query_vectors": vectors[asked[read]],
    }
    store.write_arrays(FEW_NAME.format(shard.identity), parts)
    return int(chosen.sum())


def find_groups(identities: Sequence[str], groups: int, deep: bool, seed: int, store: Store) -> int:
    """Train the coarse centroids on the smaller sample, in the order of uids; write the rows to be searched exactly.

    `deep` says whether they lie in groups of their own. Returns how many there are.
    """
    samples = [store.read_arrays(FEW_NAME.format(identity)) for identity in identities]
    _write_queries(store, samples)
    filled = [sample for sample in samples if len(sample["uid"])]
    rows = np.zeros((0, 0), dtype=np.int16)
    if filled:
        order = np.argsort(np.concatenate([sample["uid"] for sample in filled]), kind="stable")
        rows = steps_of(np.concatenate([sample["vectors"] for sample in filled]), order)
    found = grouped_kmeans(rows, groups, seed, math.inf) if deep else (spherical_kmeans(rows, groups, seed), None)
    coarse, lie_in = found
    # In one group of all where there is no other: they are compared one by one.
    known = np.zeros(len(coarse), dtype=np.int32) if lie_in is None else lie_in
    store.write_arrays(COARSE, {"steps": coarse, "groups": known})
    return len(coarse)


def merge_few(identities: Sequence[str], target: str, store: Store) -> int:
    """Write the smaller samples of several shards as that of one, `target`; return how many rows it has."""
    parts = [store.read_arrays(FEW_NAME.format(identity)) for identity in identities]
    joined = dict[str, npt.NDArray[Any]]()
    for names in (("uid", "vectors"), ("query_row", "query_measures", "query_vectors")):
        # A shard without rows has vectors of no width.
        filled = [part for part in parts if len(part[names[0]])] or parts[:1]
        joined |= {name: np.concatenate([part[name] for part in filled]) for name in names}
    store.write_arrays(FEW_NAME.format(target), joined)
    return len(joined["uid"])


def gather_queries(identities: Sequence[str], store: Store) -> int:
    """Write the rows to be searched exactly, where no centroids are trained, and return how many there are."""
    return _write_queries(store, [store.read_arrays(FEW_NAME.format(identity)) for identity in identities])


def sampled_queries(store: Store, identities: Sequence[str]) -> list[dict[str, npt.NDArray[Any]]]:
    """Return the rows that shards sampled to be searched exactly: `row`, `measures`, `vectors` of each."""
    samples = (store.read_arrays(FEW_NAME.format(identity)) for identity in identities)
    return [{name: sample[f"query_{name}"] for name in ("row", "measures", "vectors")} for sample in samples]


def spread_sample(identities: Sequence[str], name: str, store: Store) -> list[int]:
    """Send the sampled rows of some shards to their groups, as `name`; return how many each group gets."""
    coarse, index = read_coarse(store)
    uids, vectors = _sampled(identities, store)
    if len(uids) == 0:
        return [0] * len(coarse)
    home = index.nearest_steps(steps_of(vectors, np.arange(len(vectors))), 1)[0][:, 0]
    dtype = np.dtype([("group", "<i4"), ("uid", "S32"), ("vector", "<f2", (coarse.shape[1],))])
    records = packed(dtype, group=home, uid=uids, vector=vectors)
    write_groups(store, name, home, dtype, records.__getitem__)
    sizes: list[int] = np.bincount(home, minlength=len(coarse)).tolist()
    return sizes


def read_coarse(store: Store) -> tuple[Int16Array, CentroidIndex]:
    """Return the coarse centroids, int16 (G, d), and their index."""
    coarse = store.read_arrays(COARSE)
    none = np.zeros((len(coarse["groups"]), 0), dtype=np.int32)
    return coarse["steps"], CentroidIndex(Centroids.in_groups(coarse["steps"], coarse["groups"], none))


@dataclass(frozen=True, slots=True)
class Share:
    """What consecutive groups get: the first one's number, the centroids of each, and how they are divided."""

    first: int
    centroids: tuple[int, ...]
    largest: float  # rows of the sample that a centroid may have before it is split
    deep: bool  # whether the centroids of a group lie in groups of their own


def cluster_groups(share: Share, names: Sequence[str], seed: int, store: Store) -> int:
    """Cluster the sampled rows of consecutive groups, each into its share of the centroids; return how many they get.

    `names` are the objects in which the groups' rows are.
    """
    records = read_groups(store, names, share.first, share.first + len(share.centroids))
    parts = list[Centroids]()
    if records is not None:
        order = np.lexsort((records["uid"], records["group"]))
        above = store.read_arrays(COARSE)["groups"]
        for members in runs(records["group"][order]):
            group = int(records["group"][order[members.start]])
            rows = steps_of(records["vector"], order[members])
            parts.append(_clustered(rows, group, int(above[group]), share, seed))
    store.write_arrays(FINE_NAME.format(share.first), asdict(all_of(parts)))
    return sum(len(part.groups) for part in parts)


def _clustered(rows: Int16Array, group: int, above: int, share: Share, seed: int) -> Centroids:
    """Return the centroids of a group's rows, which lies in the group of groups `above`."""
    wanted = share.centroids[group - share.first]
    if not share.deep:
        steps = clustered_group(rows, wanted, seed, share.largest)
        groups = np.full(len(steps), group, dtype=np.int32)
        return Centroids.in_groups(steps, groups, np.zeros((len(steps), 0), dtype=np.int32))
    steps, inside = grouped_kmeans(rows, wanted, seed, share.largest)
    branches = np.tile(np.array([above, group], dtype=np.int32), (len(steps), 1))
    return Centroids.in_groups(steps, (group * MOST_INSIDE + inside).astype(np.int32), branches)


def sum_members(identities: Sequence[str], current: str, name: str, store: Store) -> int:
    """Sum the sampled rows of some shards by nearest centroid, as `name`, for the tasks that move centroids.

    Returns how many rows there are.
    """
    vectors = _sampled(identities, store)[1]
    if len(vectors) == 0:
        return 0
    members, counts, sums = member_sums(steps_of(vectors, np.arange(len(vectors))), index_named(store, current)[1])
    dtype = np.dtype([("centroid", "<i4"), ("count", "<i8"), ("sum", "<i4", (sums.shape[1],))])
    records = packed(dtype, centroid=members, count=counts, sum=sums)
    write_groups(store, name, members // MOVED_TOGETHER, dtype, records.__getitem__)
    return len(vectors)


def move_centroids(part: int, names: Sequence[str], current: str, store: Store) -> int:
    """Move consecutive centroids to the means of their members; return how many there are."""
    first = part * MOVED_TOGETHER
    here = index_named(store, current)[0].take(slice(first, first + MOVED_TOGETHER))
    records = read_groups(store, names, part)
    if records is not None:
        here = moved_centroids(here, records["centroid"].astype(np.int64) - first, records["count"], records["sum"])
    store.write_arrays(MOVED_NAME.format(part, current), asdict(here))
    return len(here.groups)


def find_twins(part: int, current: str, store: Store) -> int:
    """Write consecutive centroids without those that nearly equal an earlier one; return how many are left."""
    centroids, index = index_named(store, current)
    places = np.arange(part * MOVED_TOGETHER, min((part + 1) * MOVED_TOGETHER, len(centroids.groups)), dtype=np.int32)
    left = centroids.take(places[~twins(index, places)])
    store.write_arrays(MOVED_NAME.format(part, current), asdict(left))
    return len(left.groups)


def collect_centroids(names: Sequence[str], target: str, store: Store) -> int:
    """Write parts of the centroids under one name, part by part; return how many centroids there are."""
    parts = (Centroids(**store.read_arrays(name)) for name in names)
    filled = (part for part in parts if len(part.groups))
    first = next(filled, None)
    return write_centroids(store, target, [all_of([])] if first is None else chain([first], filled))


def all_of(parts: Sequence[Centroids]) -> Centroids:
    """Return parts of centroids, of which some may be empty, as one."""
    filled = [part for part in parts if len(part.groups)]
    if not filled:
        return Centroids.unmoved(np.zeros((0, 0), np.float32), np.zeros(0, np.int32))
    columns = zip(*((part.steps, part.groups, part.spreads, part.branches) for part in filled), strict=True)
    return Centroids(*(np.concatenate(column) for column in columns))


def steps_of(vectors: npt.NDArray[np.float16], order: npt.NDArray[np.int64]) -> Int16Array:
    """Return some vectors as unit rows in steps, int16 (n, d), a block at a time."""
    steps = np.empty((len(order), vectors.shape[1]), dtype=np.int16)
    for start in range(0, len(order), CONVERTED_AT_ONCE):
        block = slice(start, start + CONVERTED_AT_ONCE)
        steps[block] = unit_steps(vectors[order[block]])
    return steps


def _sampled(identities: Sequence[str], store: Store) -> tuple[npt.NDArray[np.bytes_], npt.NDArray[np.float16]]:
    """Return the uids and vectors of the sampled rows of some shards."""
    samples = [store.read_arrays(SAMPLE_NAME.format(identity)) for identity in identities]
    filled = [sample for sample in samples if len(sample["uid"])] or samples[:1]
    return np.concatenate([one["uid"] for one in filled]), np.concatenate([one["vectors"] for one in filled])


def _write_queries(store: Store, samples: Sequence[dict[str, npt.NDArray[Any]]]) -> int:
    """Write the rows to be searched exactly; return how many there are."""
    # A shard without rows has vectors of no width.
    there = [sample for sample in samples if len(sample["query_row"])]
    row = np.concatenate([np.zeros(0, np.int64), *(sample["query_row"] for sample in there)])
    measures = np.concatenate([np.zeros(0, bool), *(sample["query_measures"] for sample in there)])
    vectors = [sample["query_vectors"] for sample in there] or [np.zeros((0, 0), np.float16)]
    store.write_arrays(QUERIES_NAME, {"row": row, "measures": measures, "vectors": np.concatenate(vectors)})
    return len(row)
