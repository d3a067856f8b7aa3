"""Where a run's objects are that the page is made from."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Places:
    """Where a run's objects are that the page is made from.

    Attributes
    ----------
    run : its directory.
    concepts, graph, picks, store : the folders of the concepts, of the graph, of what is kept, of the page's objects.
    judged : where the scores are, by partition, that the last step judged by; None where no step judged.
    scores : where each score is, by name.
    """

    run: str
    concepts: str
    graph: str
    picks: str
    judged: str | None
    scores: Mapping[str, str]
    store: str
