"""What has become of a pool's shards since an earlier inventory."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from filtering.shards.inventory import Shard

GONE = -1


@dataclass(frozen=True, slots=True)
class Changes:
    """Two inventories of a pool, compared by URL, size and version: new, changed and removed URLs.

    `places`, int64 (b,): for each shard of the earlier inventory its place now, -1 where it is gone or changed.
    """

    new: tuple[str, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]
    places: npt.NDArray[np.int64]

    @property
    def in_order(self) -> bool:
        """Whether the shards that stayed are in the order in which they were, so that global row ids are too."""
        stayed = self.places[self.places != GONE]
        return bool((stayed[1:] > stayed[:-1]).all())

    def counts(self) -> dict[str, int]:
        """Return how many shards are new, changed, removed and the same."""
        same = int((self.places != GONE).sum())
        return {"new": len(self.new), "changed": len(self.changed), "removed": len(self.removed), "same": same}


def changes(before: Sequence[Shard], now: Sequence[Shard]) -> Changes:
    """Compare an earlier inventory with that of today."""
    known = {shard.url: shard for shard in before}
    places = {shard.identity: place for place, shard in enumerate(now)}
    urls = {shard.url for shard in now}
    return Changes(
        new=tuple(shard.url for shard in now if shard.url not in known),
        changed=tuple(shard.url for shard in now if shard.url in known and known[shard.url].identity != shard.identity),
        removed=tuple(shard.url for shard in before if shard.url not in urls),
        places=np.array([places.get(shard.identity, GONE) for shard in before], dtype=np.int64),
    )
