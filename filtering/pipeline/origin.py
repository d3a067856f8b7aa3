"""Whose concepts a run uses, where it trains none."""

from filtering.concepts.artifacts import ConceptsResult
from filtering.concepts.stage import NAME as CONCEPTS
from filtering.config.run import Config
from filtering.core.errors import InputError
from filtering.filters.artifacts import stage_of
from filtering.runtime.finished_run import Base, read_base
from filtering.shards.vectors import Side
from filtering.storage.store import Store, absolute


def origin_of(config: Config, base: Base | None, side: Side = "image") -> tuple[Store, str] | None:
    """Return the other run's concepts of one side that are used, and their identity; None where they are trained.

    Raises InputError if the run that `concepts.centroids` names is missing, or has no concepts that can be used, or the
    other run's are made of other vectors.
    """
    named = config.concepts.centroids
    origin = base if named is None else read_base(Store(absolute(named)), "concepts.centroids")
    if origin is None or config.concepts.refit:
        return None
    name = stage_of(CONCEPTS, side)
    if side == "image":
        _refuse_other_vectors(origin, config.concepts.embedding, "base" if named is None else "concepts.centroids")
    if side == "text" and not origin.has(name):
        # No score of that run has read its captions' neighbours.
        return None
    found = origin.result(name, ConceptsResult)
    # A pool of which nothing passed has none.
    return (origin.store(name), found.identity) if found.centroids else None


def _refuse_other_vectors(origin: Base, encoder: str | None, key: str) -> None:
    before = origin.record["config"].get("concepts", {}).get("embedding")
    if before != encoder:
        made = [f"of the vectors of {name}" if name else "of the images' own vectors" for name in (before, encoder)]
        raise InputError(
            f"{key}: the concepts of {origin.run.url} are made {made[0]}, those of this run are to be made {made[1]}; "
            "set concepts.embedding as it is there, or concepts.refit to true"
        )
