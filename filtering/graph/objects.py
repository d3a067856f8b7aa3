"""The objects of the graph stage, as the stations after it read them."""

from filtering.graph.sharded import ShardGraph
from filtering.storage import Store

GRAPH_NAME = "{:08d}.graph.npz"
# The partitions that each partition shares edges with.
ADJACENT = "adjacent.json"


def read_graph(store: Store, partition: int) -> ShardGraph | None:
    """Return one partition's part of the graph, None if it has no rows."""
    try:
        return ShardGraph(**store.read_arrays(GRAPH_NAME.format(partition)))
    except FileNotFoundError:
        return None


def read_adjacent(store: Store) -> dict[int, list[int]]:
    """Return, for each partition that has rows, the others that it shares edges with, ascending."""
    return {int(number): others for number, others in store.read_json(ADJACENT).items()}
