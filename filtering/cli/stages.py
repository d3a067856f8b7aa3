"""The names of a run's stages as they are drawn: in order, and which are still to come."""

# With several selections or scores in a run, there are others between these.
STAGES = (
    "inventory",
    "embedding",
    "filters",
    "concepts",
    "partitions",
    "graph",
    "scores",
    "selection",
    "measures",
    "manifests",
    "report",
)
NAME_WIDTH = max(map(len, STAGES))


def to_come(stage: str) -> tuple[str, ...]:
    """Return the stages after one, as far as they are known; none of a stage that is not one of a run's."""
    # Of several selections or scores only the last has the plain name: `selection-1`.
    name = stage.partition("-")[0]
    if name not in STAGES:
        return ()
    return STAGES[STAGES.index(name) + (name == stage) :]
