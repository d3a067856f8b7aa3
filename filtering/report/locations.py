"""The folders of a run that the report reads, and the one that it writes to."""

from collections.abc import Mapping
from dataclasses import dataclass

from filtering.report.facts import judging_step
from filtering.runtime.run_record import RunRecord
from filtering.storage.store import Store


@dataclass(frozen=True, slots=True)
class Locations:
    """The folders of a run that the report reads, and the one that it writes to."""

    run: Store  # the run's directory
    concepts: Store  # concepts, graph, picks: the folders of the concepts, the graph and the picks of the last step
    graph: Store
    picks: Store
    # The folder with the scores of the last step that used a score, by partition; None if no step did
    judged: Store | None
    scores: Mapping[str, Store]  # the folder of each score, by its name
    store: Store  # the folder of the report's own objects


def locations_of(run: Store, record: RunRecord, store: Store) -> Locations:
    """Return the folders that a run's record names; `store` receives the report's own objects."""
    objects, step = record["objects"], judging_step(record["steps"])
    return Locations(
        run=run,
        concepts=run.child(objects["concepts"]),
        graph=run.child(objects["graph"]),
        picks=run.child(objects["selection"]),
        judged=run.child(step["folder"]) if step else None,
        scores={name: run.child(folder) for name, folder in record["scores"].items()},
        store=store,
    )
