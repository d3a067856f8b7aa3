"""The objects of the measures stage, as the page reads them."""

import pyarrow as pa

from filtering.storage.store import Store

MEASURES = "measures.parquet"


def read_measures(store: Store) -> pa.Table:
    """Return the table `tables.MEASURES`."""
    return store.read_table(MEASURES)
