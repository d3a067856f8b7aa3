"""Whose concepts a run uses, where it trains none."""

from filtering.concepts.artifacts import ConceptsResult
from filtering.concepts.stage import NAME as CONCEPTS
from filtering.config.run import Config
from filtering.filters.artifacts import stage_of
from filtering.runtime.finished_run import Base, read_base
from filtering.shards.vectors import Side
from filtering.storage.store import Store, absolute


def origin_of(config: Config, base: Base | None, side: Side = "image") -> tuple[Store, str] | None:
    """Return the other run's concepts of one side that are used, and their identity; None where they are trained.

    Raises InputError if the run that `concepts.centroids` names is missing, or has no concepts that can be used.
    """
    named = config.concepts.centroids
    origin = base if named is None else read_base(Store(absolute(named)), "concepts.centroids")
    if origin is None or config.concepts.refit:
        return None
    name = stage_of(CONCEPTS, side)
    if side == "text" and not origin.has(name):
        # No score of that run has read its captions' neighbours.
        return None
    found = origin.result(name, ConceptsResult)
    # A pool of which nothing passed has none.
    return (origin.store(name), found.identity) if found.centroids else None
