"""The folders of embedded shards, a base's among them, and what is known of each shard."""

from collections import Counter
from collections.abc import Iterable
from typing import Annotated, NamedTuple, NotRequired

from annotated_types import Len
from typing_extensions import TypedDict

from filtering.core.errors import DamagedError, InputError
from filtering.core.parsing import Count
from filtering.embedding.artifacts import NAME, ROWS_NAME
from filtering.runtime import references
from filtering.runtime.finished_run import Base
from filtering.runtime.references import run_of
from filtering.storage.reading import read_record_as
from filtering.storage.store import Store

# By the stage's fingerprint: in which folder each shard's rows are, a base's among them.
LOCATIONS_NAME = "{}.where.json"


class ShardLocation(NamedTuple):
    """The folder of an embedded shard's objects, and the numbers of its samples, rows and quarantined samples.

    `dimension` is that of its vectors, and `of_concepts` that of the vectors of concepts where they are others; 0 where
    it is not known: tars have all that of the model.
    """

    store: Store
    samples: int
    rows: int
    quarantined: int
    dimension: int = 0
    of_concepts: int = 0


# By the shard's identity.
ShardLocations = dict[str, ShardLocation]


class StoredLocations(TypedDict):
    """Locations on disk: folders once, and by identity the number of a shard's folder and those of its samples.

    `run` is where the run was, see `filtering.runtime.references`.
    """

    folders: list[str]
    run: NotRequired[str]
    shards: dict[str, Annotated[tuple[Count, ...], Len(4, 6)]]


def write_locations(store: Store, fingerprint: str, where: ShardLocations) -> None:
    """Write where each shard's rows are: the folders once, then one entry for each shard."""
    run, folders = run_of(store), sorted({place.store.url for place in where.values()})
    number = {folder: at for at, folder in enumerate(folders)}
    shards = {identity: [number[place.store.url], *place[1:]] for identity, place in where.items()}
    names = [references.named(run, folder) for folder in folders]
    store.write_record(LOCATIONS_NAME.format(fingerprint), {"folders": names, "run": run.url, "shards": shards})


def shard_locations(run: Base) -> ShardLocations:
    """Return where the rows of each shard of a finished run are."""
    return read_locations(run.store(NAME), run.fingerprint(NAME))


def shards_there(places: ShardLocations) -> set[str]:
    """Return the identities of the shards whose rows are in their folders, of which each is listed once."""
    listed = {store: set(store.names(ROWS_NAME.format(""))) for store in {place.store for place in places.values()}}
    return {identity for identity, place in places.items() if ROWS_NAME.format(identity) in listed[place.store]}


def read_locations(store: Store, fingerprint: str) -> ShardLocations:
    """Return where each shard's rows are; InputError if that is not known, DamagedError if it is something else."""
    name = LOCATIONS_NAME.format(fingerprint)
    try:
        found = read_record_as(store, name, StoredLocations)
    except FileNotFoundError:
        raise InputError(
            f"{store.url}: does not say where the shards' rows are; it was deleted, or written by an older version"
        ) from None
    run, before = run_of(store), found.get("run")
    stores = [Store(references.found(run, before, folder)) for folder in found["folders"]]
    if any(at >= len(stores) for at, *_ in found["shards"].values()):
        raise DamagedError(store.path(name), "is damaged: a shard is in a folder that it does not list")
    return {identity: ShardLocation(stores[at], *counts) for identity, (at, *counts) in found["shards"].items()}


def pool_dimensions(places: Iterable[ShardLocation]) -> tuple[int, int]:
    """Return the dimension that the vectors of most rows have, of several the one that comes first; 0 if none is known.

    After it comes that of the vectors of concepts. One file of other dimensions costs its own rows, wherever it stands
    in the pool.
    """
    rows = Counter[tuple[int, int]]()
    for place in places:
        if place.dimension:
            rows[place.dimension, place.of_concepts] += place.rows
    # Of equal counts the first that was counted.
    return rows.most_common(1)[0][0] if rows else (0, 0)
