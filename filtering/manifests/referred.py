"""What a run refers to in folders of other runs: rows and vectors of a base's shards, parts of its graph."""

import contextlib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from filtering.core.errors import DamagedError, InputError
from filtering.embedding.artifacts import QUARANTINE_NAME, ROWS_NAME, VECTORS_NAME
from filtering.embedding.locations import read_locations
from filtering.graph.artifacts import GRAPHS, reused_objects
from filtering.runtime.run_record import RunRecord, fingerprint_of, stage_folder
from filtering.runtime.stage_objects import damaged_of
from filtering.storage.outputs import place_of
from filtering.storage.store import MARKER, Store

NEEDED = (ROWS_NAME, QUARANTINE_NAME)


@dataclass(frozen=True, slots=True)
class References:
    """The stages of a run that refer to objects of other runs."""

    embedding: Store
    fingerprint: str  # of the embedding
    vectors: tuple[str, ...]  # which vectors of a shard the run has itself
    graphs: tuple[Store, ...]

    @classmethod
    def of(cls, run: Store, record: RunRecord) -> "References":
        """Return those of a finished run; DamagedError if its run.json does not name them."""
        embedding, image_graph = (stage_folder(run, record, name) for name in ("embedding", GRAPHS[0]))
        others = (stage_folder(run, record, name) for name in GRAPHS[1:] if name in record["objects"])
        return cls(embedding, fingerprint_of(run, record, "embedding"), _vectors(record), (image_graph, *others))

    def damaged(self) -> Iterator[DamagedError]:
        """Read every object of other runs that is referred to, and yield what is wrong with it.

        What says which those are is the run's own, and is checked with its stages.
        """
        with contextlib.suppress(DamagedError):
            for store, names in (*self._embedded(), *(one for graph in self.graphs for one in reused_objects(graph))):
                yield from damaged_of(store, names)

    def _embedded(self) -> Iterator[tuple[Store, list[str]]]:
        """Yield the folders of other runs that have embedded shards, each with the names of those shards' objects."""
        folders = defaultdict[Store, set[str]](set)
        needed = (*NEEDED, *(VECTORS_NAME.format("{}", kind) for kind in self.vectors))
        for identity, store in self._elsewhere():
            folders[store].add(identity)
        for store, identities in folders.items():
            there = [name for name in store.names() if not name.endswith(MARKER)]
            names = {name for name in there if name.partition(".")[0] in identities}
            yield store, sorted(names.union(name.format(one) for one in identities for name in needed))

    def _elsewhere(self) -> Iterator[tuple[str, Store]]:
        own = place_of(self.embedding.url)
        # Deleted as a whole, or of an older version: nothing is known of them.
        with contextlib.suppress(InputError):
            for identity, place in read_locations(self.embedding, self.fingerprint).items():
                if place_of(place.store.url) != own:
                    yield identity, place.store


def _vectors(record: RunRecord) -> tuple[str, ...]:
    """Return which vectors a run keeps itself: those that a model made, and copies of a table's columns."""
    source, concepts = record["config"]["input"], record["config"].get("concepts", {}).get("embedding")
    if source.get("shards") is not None:
        return ("image", "text", *record["config"]["embedding"].get("encoders", {}))
    if source.get("tables") is not None:
        return ("image", "text", *(("concepts",) if concepts else ()))
    # Metadata has its vectors in the pool.
    return ()
