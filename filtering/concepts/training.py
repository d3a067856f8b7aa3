"""Tasks that train centroids: sample each shard, find coarse groups, cluster each group on its own."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt

from filtering.concepts.artifacts import CENTROIDS, QUERIES_NAME
from filtering.concepts.exact_search import MEASURING_SHARE, QUERIES
from filtering.concepts.kmeans import (
    clustered_group,
    member_sums,
    moved_centroids,
    spherical_kmeans,
    without_twins,
)
from filtering.concepts.nearest import Centroids, nearest_centroids
from filtering.concepts.partition import global_rows
from filtering.core.uids import sampled
from filtering.embedding.artifacts import unit_rows
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
ROUND_NAME = "round{}.npz"
SUMS_NAME = "{}.{}" + SUMS_SUFFIX
MOVED_NAME = "{:08d}.{}"
MOVED_TOGETHER = 1024
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


def find_groups(identities: Sequence[str], groups: int, seed: int, store: Store) -> int:
    """Train the coarse centroids on the smaller sample, in the order of uids; write the rows to be searched exactly.

    Returns how many groups there are.
    """
    samples = [store.read_arrays(FEW_NAME.format(identity)) for identity in identities]
    _write_queries(store, samples)
    filled = [sample for sample in samples if len(sample["uid"])]
    coarse = np.zeros((0, 0), dtype=np.float32)
    if filled:
        order = np.argsort(np.concatenate([sample["uid"] for sample in filled]), kind="stable")
        coarse = spherical_kmeans(
            unit_rows(np.concatenate([sample["vectors"] for sample in filled])[order]), groups, seed
        )
    store.write_arrays(COARSE, {"vectors": coarse})
    return len(coarse)


def gather_queries(identities: Sequence[str], store: Store) -> int:
    """Write the rows to be searched exactly, where no centroids are trained, and return how many there are."""
    return _write_queries(store, [store.read_arrays(FEW_NAME.format(identity)) for identity in identities])


def sampled_queries(store: Store, identities: Sequence[str]) -> list[dict[str, npt.NDArray[Any]]]:
    """Return the rows that shards sampled to be searched exactly: `row`, `measures`, `vectors` of each."""
    samples = (store.read_arrays(FEW_NAME.format(identity)) for identity in identities)
    return [{name: sample[f"query_{name}"] for name in ("row", "measures", "vectors")} for sample in samples]


def spread_sample(identity: str, store: Store) -> list[int]:
    """Send the sampled rows of a shard to their groups; return how many each group gets."""
    sample, coarse = store.read_arrays(SAMPLE_NAME.format(identity)), store.read_arrays(COARSE)["vectors"]
    if len(sample["uid"]) == 0:
        return [0] * len(coarse)
    home = nearest_centroids(unit_rows(sample["vectors"]), coarse, 1)[0][:, 0]
    dtype = np.dtype([("group", "<i4"), ("uid", "S32"), ("vector", "<f2", (coarse.shape[1],))])
    records = packed(dtype, group=home, uid=sample["uid"], vector=sample["vectors"])
    write_groups(store, SPREAD_NAME.format(identity), home, dtype, records.__getitem__)
    sizes: list[int] = np.bincount(home, minlength=len(coarse)).tolist()
    return sizes


def cluster_groups(
    first: int, shares: Sequence[int], largest: float, names: Sequence[str], seed: int, store: Store
) -> int:
    """Cluster the sampled rows of consecutive groups, each into its share of the centroids; return how many they get.

    `shares` are the centroids of each group from `first` on, `names` the objects in which the groups' rows are. A
    centroid may hold `largest` sampled rows before it is split.
    """
    records = read_groups(store, names, first, first + len(shares))
    parts, groups = [], []
    if records is not None:
        records = records[np.lexsort((records["uid"], records["group"]))]
        for members in runs(records["group"]):
            group = int(records["group"][members.start])
            vectors = unit_rows(records["vector"][members])
            parts.append(clustered_group(vectors, shares[group - first], seed, largest))
            groups.append(np.full(len(parts[-1]), group, dtype=np.int32))
    width = parts[0].shape[1] if parts else 0
    vectors = np.concatenate([np.zeros((0, width), np.float32), *parts])
    centroids = Centroids.unmoved(vectors, np.concatenate([np.zeros(0, np.int32), *groups]))
    store.write_arrays(FINE_NAME.format(first), asdict(centroids))
    return len(vectors)


def sum_members(identity: str, current: str, store: Store) -> int:
    """Sum the sampled rows of a shard by nearest centroid, for the tasks that move centroids; return how many rows."""
    sample, centroids = store.read_arrays(SAMPLE_NAME.format(identity)), Centroids(**store.read_arrays(current))
    if len(sample["uid"]) == 0:
        return 0
    members, counts, sums = member_sums(unit_rows(sample["vectors"]), centroids)
    dtype = np.dtype([("centroid", "<i4"), ("count", "<i8"), ("sum", "<f4", (sums.shape[1],))])
    records = packed(dtype, centroid=members, count=counts, sum=sums)
    name = SUMS_NAME.format(identity, current)
    write_groups(store, name, members // MOVED_TOGETHER, dtype, records.__getitem__)
    return len(sample["uid"])


def move_centroids(part: int, names: Sequence[str], current: str, store: Store) -> int:
    """Move consecutive centroids to the means of their members; return how many there are."""
    first = part * MOVED_TOGETHER
    here = Centroids(**store.read_arrays(current)).take(slice(first, first + MOVED_TOGETHER))
    records = read_groups(store, names, part)
    if records is not None:
        here = moved_centroids(here, records["centroid"].astype(np.int64) - first, records["count"], records["sum"])
    store.write_arrays(MOVED_NAME.format(part, current), asdict(here))
    return len(here.groups)


def collect_centroids(names: Sequence[str], target: str, store: Store) -> int:
    """Write parts of the centroids as one object, the final one without twins; return how many centroids it has."""
    parts = [store.read_arrays(name) for name in names]
    filled = [part for part in parts if len(part["groups"])]
    centroids = Centroids.unmoved(np.zeros((0, 0), np.float32), np.zeros(0, np.int32))
    if filled:
        centroids = Centroids(**{name: np.concatenate([part[name] for part in filled]) for name in filled[0]})
    if filled and target == CENTROIDS:
        centroids = without_twins(centroids)
    store.write_arrays(target, asdict(centroids))
    return len(centroids.vectors)


def _write_queries(store: Store, samples: Sequence[dict[str, npt.NDArray[Any]]]) -> int:
    """Write the rows to be searched exactly; return how many there are."""
    # A shard without rows has vectors of no width.
    there = [sample for sample in samples if len(sample["query_row"])]
    row = np.concatenate([np.zeros(0, np.int64), *(sample["query_row"] for sample in there)])
    measures = np.concatenate([np.zeros(0, bool), *(sample["query_measures"] for sample in there)])
    vectors = [sample["query_vectors"] for sample in there] or [np.zeros((0, 0), np.float16)]
    store.write_arrays(QUERIES_NAME, {"row": row, "measures": measures, "vectors": np.concatenate(vectors)})
    return len(row)
