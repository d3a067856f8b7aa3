"""The objects of the selection stage, as the stations after it read them."""

from collections.abc import Sequence

import pyarrow as pa

from filtering import tables
from filtering.concepts.partition import read_groups
from filtering.storage import Store

PICKS_SUFFIX = ".picks.parquet"
PICKS_NAME = "{:08d}" + PICKS_SUFFIX
BUDGETS_NAME = "budgets.npz"


def read_picks(store: Store, names: Sequence[str], shard: int) -> pa.Table:
    """Return the table `tables.PICKS` of the shard at a place in the inventory, from the named objects."""
    picks = read_groups(store, names, shard)
    return tables.PICKS.empty_table() if picks is None else picks
