"""What the filters let through, as the stations after them read it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from filtering.embedding.objects import EmbeddedShard
from filtering.storage import Store
from filtering.uids import uid_array

REASONS_NAME = "{}.reasons.parquet"
# A sample whose uid was seen before is quarantined, not dropped: two samples cannot share a line of the manifest.
DUPLICATE_UID = "duplicate_uid"


@dataclass(frozen=True, slots=True)
class PassingShard:
    """An embedded shard after the filters.

    Attributes
    ----------
    embedded : the shard with its rows and vectors.
    reasons_url : where each row's reason for not going on is.
    """

    embedded: EmbeddedShard
    reasons_url: str

    @property
    def index(self) -> int:
        """Place in the inventory."""
        return self.embedded.shard.index

    @property
    def identity(self) -> str:
        """Names the shard's objects."""
        return self.embedded.shard.identity

    def reasons(self) -> pa.ChunkedArray:
        """Return each row's reason for not going on, null where it goes on."""
        return Store(self.reasons_url).read_table(REASONS_NAME.format(self.identity))["reason"]

    def rows(self) -> npt.NDArray[np.int64]:
        """Return the rows that go on, ascending."""
        return np.flatnonzero(np.asarray(self.reasons().is_null()))

    def uids(self, rows: npt.NDArray[Any]) -> npt.NDArray[np.bytes_]:
        """Return the uids of some rows, bytes S32 (n,)."""
        uids: npt.NDArray[np.bytes_] = uid_array(self.embedded.rows(["uid"])["uid"])[rows]
        return uids

    def vectors(self, rows: npt.NDArray[Any]) -> npt.NDArray[np.float16]:
        """Return the image embeddings of some rows, float16 (n, d), in their order."""
        source = self.embedded.rows(["source_row"])["source_row"].to_numpy()[rows]
        vectors: npt.NDArray[np.float16] = np.asarray(self.embedded.images()[source], dtype=np.float16)
        return vectors
