"""The objects of the graph stage, as the stations after it read them."""

from filtering.graph.sharded import ShardGraph
from filtering.storage import Store

GRAPH_NAME = "{:08d}.graph.npz"


def read_graph(store: Store, partition: int) -> ShardGraph | None:
    """Return one partition's part of the graph, None if it has no rows."""
    try:
        return ShardGraph(**store.read_arrays(GRAPH_NAME.format(partition)))
    except FileNotFoundError:
        return None
