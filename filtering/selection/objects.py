"""The objects of the selection stage, as the stations after it read them."""

import pyarrow as pa

from filtering import tables
from filtering.concepts.partition import read_groups
from filtering.storage import Store

PICKS_NAME = "{:08d}.picks.parquet"
BUDGETS_NAME = "budgets.npz"


def read_picks(store: Store, shard: int) -> pa.Table:
    """Return the table `tables.PICKS` of the shard at a place in the inventory."""
    picks = read_groups(store, store.names(".picks.parquet"), shard)
    return tables.PICKS.empty_table() if picks is None else picks
