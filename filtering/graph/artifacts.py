"""The objects of the graph stage, as later stages read them; some may lie in the run that a base is.

Names on disk have stayed: in records a replica is called a guest, and what is reused is called carried.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from pydantic import Field

from filtering.concepts.partition import moved_rows
from filtering.core.formatting import counted
from filtering.core.parsing import Count
from filtering.filters.artifacts import stage_of
from filtering.graph.sharded import ShardGraph
from filtering.runtime import references
from filtering.shards.vectors import SIDES
from filtering.storage.reading import read_mapping_as
from filtering.storage.store import Store

GRAPH_SUFFIX = ".graph.npz"
GRAPH_NAME = "{:08d}" + GRAPH_SUFFIX
# Who chose each edge of the graph: for a run that reuses it.
CHOSEN_NAME = "{:08d}.chosen.npz"
# The rows of a partition that measure recall, and the distances of the neighbours they chose.
QUERIES_NAME = "{:08d}.queries.npz"
# The spare neighbours of a partition's rows, in the order of its graph; older versions kept none.
SPARES_SUFFIX = ".spares.npz"
SPARES_NAME = "{:08d}" + SPARES_SUFFIX
# All that a partition has, and that goes with its part where that is reused.
PART_NAMES = (GRAPH_NAME, CHOSEN_NAME, QUERIES_NAME, SPARES_NAME)
# The partitions that each partition shares edges with, or spare neighbours.
ADJACENT = "adjacent.json"
# The folders of the reused parts, and where the run was, see `filtering.runtime.references`.
ORIGINS = "origins.npz"
# The stages that build graphs: of images, and of captions.
GRAPHS = tuple(stage_of("graph", side) for side in SIDES)


@dataclass(frozen=True, slots=True)
class GraphResult:
    """Statistics of the whole graph, as run.json has them."""

    nodes: int
    edges: int  # in both directions
    isolated: int  # nodes without a neighbour
    crossing: int  # edges between partitions
    largest_degree: int
    mean_degree: float
    crossing_share: float
    degrees_by_power_of_2: list[int]  # nodes by the binary logarithm of their degree: none, 1, 2-3, 4-7, ...
    partitions: int  # that hold rows
    replicas: Annotated[int, Field(alias="guests")]  # rows searched in a concept beside their own
    distances: int  # computed
    share_of_brute_force: float  # `distances` as a share of those that an exact search of the pool by itself computes
    k: int  # neighbours of a row
    recall: float = 1.0  # measured, at k
    # Connected components and the size of the largest; None in pools too large to count them
    components: int | None = None
    largest_component: int | None = None
    # Where parts of a base's graph were reused
    searched_concepts: int | None = None
    reused_partitions: Annotated[int | None, Field(alias="carried_partitions")] = None

    @property
    def summary(self) -> str:
        """One line for a person."""
        found = f"{self.edges // 2:,} edges, recall@{self.k} {self.recall:.3f}"
        if self.searched_concepts is not None:
            found += (
                f"; {counted(self.searched_concepts, 'concept')} searched, {self.reused_partitions:,} of "
                f"{counted(self.partitions, 'partition')} reused"
            )
        return found


@dataclass(frozen=True, slots=True)
class Origins:
    """The earlier runs whose parts of the graph are reused."""

    stores: tuple[Store, ...]  # the graphs of those r runs
    run_of: npt.NDArray[np.int32]  # int32 (P,), which of them has the part of each partition; -1 where none has
    # For each of those runs, int64 (b,): the places of its shards now, -1 where their rows are gone
    places: tuple[npt.NDArray[np.int64], ...]

    def of(self, partition: int) -> tuple[Store, npt.NDArray[np.int64]] | None:
        """Return the graph that has a partition's reused part, and the places of that run's shards."""
        if partition >= len(self.run_of) or self.run_of[partition] < 0:
            return None
        at = int(self.run_of[partition])
        return self.stores[at], self.places[at]


def write_origins(store: Store, origins: Origins) -> None:
    """Write the origins of reused parts."""
    places = {f"places-{at}": array for at, array in enumerate(origins.places)}
    run = references.run_of(store)
    urls = np.array([references.named(run, origin.url) for origin in origins.stores], dtype=np.str_)
    own = np.array(run.url, dtype=np.str_)
    store.write_arrays(ORIGINS, {"urls": urls, "run": own, "run_of": origins.run_of, **places})


def read_origins(store: Store) -> Origins:
    """Return the origins of reused parts; none where the whole graph was built."""
    try:
        arrays = store.read_arrays(ORIGINS)
    except FileNotFoundError:
        return Origins((), np.zeros(0, dtype=np.int32), ())
    run, before = references.run_of(store), str(arrays["run"]) if "run" in arrays else None
    stores = tuple(Store(references.found(run, before, url)) for url in arrays["urls"].tolist())
    return Origins(stores, arrays["run_of"], tuple(arrays[f"places-{at}"] for at in range(len(stores))))


def reused_objects(store: Store) -> Iterator[tuple[Store, list[str]]]:
    """Yield the folders of other runs that have parts of a graph, each with the names of the reused objects."""
    origins, own = read_origins(store), set(store.names(GRAPH_SUFFIX))
    for at, there in enumerate(origins.stores):
        numbers = np.flatnonzero(origins.run_of == at).tolist()
        reused = [number for number in numbers if GRAPH_NAME.format(number) not in own]
        names = [name.format(number) for number in reused for name in PART_NAMES]
        spares = set(there.names(SPARES_SUFFIX)) if names else set()
        yield there, [name for name in names if name in spares or not name.endswith(SPARES_SUFFIX)]


def read_graph(store: Store, partition: int) -> ShardGraph | None:
    """Return one partition's part of the graph, reused or not, in today's row ids; None if it has no rows."""
    graph: ShardGraph | None
    try:
        graph = ShardGraph(**store.read_arrays(GRAPH_NAME.format(partition)))
    except FileNotFoundError:
        graph = reused_graph(store, partition)
    return graph if graph is not None and len(graph.row) else None


def reused_graph(store: Store, partition: int) -> ShardGraph | None:
    """Return the part that is reused, in today's row ids, -1 for rows that are gone; None where there is none."""
    origin = read_origins(store).of(partition)
    return None if origin is None else moved_graph(*origin, partition)


def moved_graph(there: Store, places: npt.NDArray[np.int64], partition: int) -> ShardGraph:
    """Return a partition's part of an earlier run's graph in today's row ids, -1 for rows that are gone."""
    arrays = there.read_arrays(GRAPH_NAME.format(partition))
    arrays |= {name: moved_rows(arrays[name], places) for name in ("row", "indices")}
    return ShardGraph(**arrays)


def read_part_object(store: Store, name: str, partition: int) -> dict[str, npt.NDArray[Any]] | None:
    """Return the arrays of a partition's object beside the graph, a `row` among them in today's ids; None without."""
    try:
        return store.read_arrays(name.format(partition))
    except FileNotFoundError:
        origin = read_origins(store).of(partition)
    if origin is None:
        return None
    arrays = origin[0].read_arrays(name.format(partition))
    return arrays | ({"row": moved_rows(arrays["row"], origin[1])} if "row" in arrays else {})


def read_adjacent(store: Store) -> dict[int, list[int]]:
    """Return, for each partition with rows, the others that it shares edges or spare neighbours with, ascending."""
    return read_mapping_as(store, ADJACENT, dict[Count, list[Count]])
