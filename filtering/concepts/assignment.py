"""What workers do to give every row its concept and those it visits: a pass over the vectors, then one over ids."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from filtering.concepts.artifacts import EXACT, INVITATION, QUERIES_NAME, VISITS_NAME, read_centroids
from filtering.concepts.exact_search import ExactSearch
from filtering.concepts.nearest import CentroidIndex
from filtering.concepts.partition import global_rows
from filtering.concepts.replicas import (
    MARGIN_BINS,
    NO_CONCEPT,
    Visits,
    border_margins,
    margin_counts,
    margin_for,
    margin_within,
    needed_margins,
)
from filtering.core.uids import hashed
from filtering.embedding.artifacts import unit_rows
from filtering.filters.artifacts import PassingShard
from filtering.storage.store import Store

# Of each row of a shard: its nearest centroids and the margins to them.
CELLS_SUFFIX = ".cells.npz"
CELLS_NAME = "{}" + CELLS_SUFFIX
# Of each sampled row of the pool: its nearest rows in one shard, and which concepts they may visit.
NEAREST_NAME = "{}.nearest.npz"
STATISTICS_NAME = "{}.statistics.npz"
SECTION_SEED = 3


def assign(shard: PassingShard, reach: int, k: int, store_url: str) -> dict[str, int]:
    """Find the nearest centroids of a shard's rows, and the shard's nearest rows to the sampled rows of the pool."""
    store, passing = Store(store_url), shard.rows()
    centroids = read_centroids(store)
    index = CentroidIndex(centroids)
    queries = store.read_arrays(QUERIES_NAME)
    exact = ExactSearch(unit_rows(queries["vectors"]), queries["row"], k)
    width = min(reach, len(centroids.vectors))
    concepts = np.full((len(passing), width), NO_CONCEPT, dtype=np.int32)
    margins = np.full((len(passing), width), np.inf, dtype=np.float32)
    distances = np.zeros(len(passing), dtype=np.float32)
    ids = global_rows(shard.index, passing)
    for block, vectors in shard.vector_blocks(passing):
        unit = unit_rows(vectors)
        concepts[block], apart = index.nearest(unit, width)
        margins[block] = border_margins(concepts[block], apart, centroids)
        distances[block] = apart[:, 0]
        exact.add(unit, ids[block], block.start)
    cells = {"row": passing.astype(np.int32), "concepts": concepts, "margins": margins, "distances": distances}
    store.write_arrays(CELLS_NAME.format(shard.identity), cells)
    nearest = _nearest(shard, exact, passing, ids, Visits(concepts, margins))
    store.write_arrays(NEAREST_NAME.format(shard.identity), nearest)
    return {"rows": len(passing)}


def invite(
    identities: Sequence[str], k: int, recall: float, guests: float, largest: int, store_url: str
) -> dict[str, Any]:
    """Decide how near a border a row must be to be a guest, and into how many sections oversized concepts are cut.

    Parameters
    ----------
    k : int
        Neighbours of a row.
    recall : float
        The share of known neighbours that should meet.
    guests : float
        The most guests that a row makes on average, whatever the recall.
    largest : int
        Rows of a concept.
    """
    store = Store(store_url)
    measures = store.read_arrays(QUERIES_NAME)["measures"]
    merged, sizes = merged_nearest(store, identities)
    # Beyond the k-th they are for later runs, of whose pool some will be gone.
    near = {name: merged[name][:, :k] for name in ("distances", "concepts", "margins")}
    trained = ~measures if len(measures) > 1 else np.ones(len(measures), dtype=bool)
    there = np.isfinite(near["distances"]) & trained[:, None]
    query = np.nonzero(there)[0]
    left = Visits(merged["own_concepts"][query], merged["own_margins"][query])
    needed = needed_margins(left, Visits(near["concepts"][there], near["margins"][there]))
    rows = int(sizes.sum())
    margin = min(margin_for(needed, recall)[0], margin_within(merged["visits"], guests * rows))
    expected = round(float((needed <= margin).mean()), 4) if len(needed) else 1.0
    sections = np.maximum(-(-sizes // largest), 1).astype(np.int32)
    store.write_arrays(INVITATION, {"margin": np.array(margin), "sections": sections})
    exact = {name: merged[name][measures] for name in ("row", "distances", "neighbours")}
    store.write_arrays(EXACT, with_radius(exact))
    return {"margin": margin if np.isfinite(margin) else None, "expected": expected, "concepts": int(sections.sum())}


def visit(shard: PassingShard, store_url: str) -> dict[str, int]:
    """Write each row's concept and the concepts in which it is a guest; sum up the concepts' statistics."""
    store = Store(store_url)
    cells, invitation = (store.read_arrays(name) for name in (CELLS_NAME.format(shard.identity), INVITATION))
    sections = invitation["sections"]
    first = np.concatenate([[0], np.cumsum(sections)]).astype(np.int32)
    place = hashed(shard.uids(cells["row"]), SECTION_SEED)
    home = cells["concepts"][:, 0] if len(place) else np.zeros(0, dtype=np.int32)
    concept = _section(home, place, first, sections)
    invited = (cells["margins"] <= invitation["margin"]) & (cells["concepts"] != NO_CONCEPT)
    invited[:, :1] = False
    guest, column = np.nonzero(invited)
    hosts = _section(cells["concepts"][guest, column], place[guest], first, sections)
    visits = {"row": cells["row"], "concept": concept, "guest": guest.astype(np.int32), "guest_concept": hosts}
    store.write_arrays(VISITS_NAME.format(shard.identity), visits)
    count = int(first[-1])
    pairs, times = np.unique(concept[guest].astype(np.int64) * count + hosts, return_counts=True)
    sums = {
        "pairs": pairs,
        "visits": times,
        "sizes": np.bincount(concept, minlength=count),
        "guests": np.bincount(hosts, minlength=count),
        "distances": np.bincount(concept, weights=cells["distances"], minlength=count),
    }
    store.write_arrays(STATISTICS_NAME.format(shard.identity), sums)
    return {"rows": len(concept), "guests": len(guest)}


def _section(
    cells: npt.NDArray[np.int32],
    place: npt.NDArray[np.uint64],
    first: npt.NDArray[np.int32],
    sections: npt.NDArray[np.int32],
) -> npt.NDArray[np.int32]:
    """Return the concept of rows of some cells: the cell's only section, or the one that the row's uid decides."""
    return np.asarray(first[cells] + (place % sections[cells].astype(np.uint64)).astype(np.int32), dtype=np.int32)


def _nearest(
    shard: PassingShard, exact: ExactSearch, passing: npt.NDArray[np.int64], ids: npt.NDArray[np.int64], visits: Visits
) -> dict[str, npt.NDArray[Any]]:
    """Return what a shard knows of the sampled rows: their nearest rows in it, and those that are its own."""
    queries = exact.rows
    asked = np.flatnonzero(np.isin(queries, ids))
    own = np.searchsorted(ids, queries[asked])
    found: dict[str, npt.NDArray[Any]] = {
        "asked": asked,
        "own_concepts": visits.concepts[own],
        "own_margins": visits.margins[own],
        "visits": margin_counts(visits.margins),
        "sizes": np.bincount(visits.concepts[:, 0]) if len(ids) else np.zeros(0, np.int64),
    }
    if len(ids) == 0 or len(queries) == 0:
        return found
    there, nearest = ranked_rows(shard, exact, passing, ids)
    return found | nearest | {"concepts": visits.concepts[there], "margins": visits.margins[there]}


def with_radius(exact: dict[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
    """Return true neighbours with the distance up to which none is missing: that of the last, infinite if all are."""
    lengths = exact["distances"]
    last = lengths[:, -1] if lengths.shape[1] else np.full(len(lengths), np.inf)
    return exact | {"within": last.astype(np.float32)}


def merged_nearest(
    store: Store, identities: Sequence[str]
) -> tuple[dict[str, npt.NDArray[Any]], npt.NDArray[np.int64]]:
    """Merge what the shards found; also return the rows of each cell."""
    row = store.read_arrays(QUERIES_NAME)["row"]
    cells = len(read_centroids(store).vectors)
    sizes, visits = np.zeros(cells, dtype=np.int64), np.zeros(MARGIN_BINS, dtype=np.int64)
    merged: dict[str, npt.NDArray[Any]] = {}
    own: dict[str, npt.NDArray[Any]] = {}
    for identity in identities:
        part = store.read_arrays(NEAREST_NAME.format(identity))
        sizes[: len(part["sizes"])] += part["sizes"]
        visits += part["visits"]
        for name in ("own_concepts", "own_margins"):
            own.setdefault(name, np.zeros((len(row), part[name].shape[1]), part[name].dtype))[part["asked"]] = part[
                name
            ]
        if "distances" in part:
            merged = nearer(merged, part, ("distances", "neighbours", "concepts", "margins"))
    if not merged:
        none = np.zeros((len(row), 0))
        merged = {"distances": none, "concepts": none[..., None].astype(np.int32), "margins": none[..., None]}
        merged["neighbours"] = none.astype(np.int64)
    return {"row": row, "visits": visits, **own, **merged}, sizes


def nearer(
    merged: dict[str, npt.NDArray[Any]], part: dict[str, npt.NDArray[Any]], names: Sequence[str]
) -> dict[str, npt.NDArray[Any]]:
    """Return the nearest of two shards' findings, as many as the second has, by their `distances`; some columns."""
    if not merged:
        return {name: part[name] for name in names}
    both = {name: np.concatenate([merged[name], part[name]], axis=1) for name in names}
    order = np.argsort(both["distances"], axis=1, kind="stable")[:, : part["distances"].shape[1]]
    every = np.arange(len(order))[:, None]
    return {name: both[name][every, order] for name in names}


def ranked_rows(
    shard: PassingShard, exact: ExactSearch, passing: npt.NDArray[np.int64], ids: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], dict[str, npt.NDArray[Any]]]:
    """Return what a search found in a shard, k and a few more for each query, nearest first.

    Parameters
    ----------
    passing, ids : int64 (n,)
        The rows that were searched, at least one, and their global ids.

    Returns
    -------
    places : int64 (q, k + 6)
        Where in `passing` they stand; 0 where there is none.
    found : dict
        Their squared `distances`, float32 (q, k + 6), infinite where there is none; their global ids, `neighbours`,
        int64 (q, k + 6), -1 there.
    """
    # Where there is no candidate, any row stands in; its distance stays infinite.
    vectors = unit_rows(shard.vectors(passing[np.maximum(exact.found, 0).ravel()]))
    places, distances = exact.ranked(vectors, exact.found.shape[1])
    there = np.maximum(places, 0).astype(np.int64)
    return there, {"distances": distances, "neighbours": np.where(places >= 0, ids[there], -1)}
