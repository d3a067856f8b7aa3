"""The objects of the scores stage, as the stations after it read them."""

import numpy as np
import numpy.typing as npt

from filtering.storage.store import Store

SCORES_NAME = "{}.scores.npz"


def read_scores(store: Store, identity: str) -> npt.NDArray[np.float32]:
    """Return the score of each row of a shard, float32 (n,)."""
    return store.read_arrays(SCORES_NAME.format(identity))["score"]
