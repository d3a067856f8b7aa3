"""The objects of the selection stage, as the stations after it read them."""

from collections.abc import Sequence

import numpy as np

from filtering.exchange import Records, read_groups
from filtering.storage import Store

PICKS_SUFFIX = ".picks"
PICKS_NAME = "{:08d}" + PICKS_SUFFIX
BUDGETS_NAME = "budgets.npz"
# A pick on its way to the manifest of its shard; `row` is the global row id.
PICK = np.dtype([("row", "<i8"), ("concept", "<i4"), ("score", "<f4"), ("rank", "<i8")])


def read_picks(store: Store, names: Sequence[str], shard: int) -> Records:
    """Return the picks, PICK (n,), of the shard at a place in the inventory, from the named objects."""
    picks = read_groups(store, names, shard)
    return np.zeros(0, PICK) if picks is None else picks
