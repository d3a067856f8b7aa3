"""What a selection is made of, by the pool's truth: tells why a filter wins or loses."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from benchmarks.quality.pool.plan import MISMATCHED, RIGHT

Figures = dict[str, float]


class Truth:
    """The pool's truth, loaded once."""

    def __init__(self, path: Path) -> None:
        table = pq.read_table(path)
        self.uids, self.kind, self.concept = (np.array(table[name].to_pylist()) for name in ("uid", "kind", "concept"))
        self.clothes, original = table["clothes"].to_numpy(), table["original"].to_numpy()
        self.right, self.mismatched = np.isin(self.kind, RIGHT), np.isin(self.kind, MISMATCHED)
        self.picture = np.unique(np.char.add(self.concept, original.astype("U")), return_inverse=True)[1]

    def figures(self, uids: Iterable[str]) -> Figures:
        """Return shares in percent of what was kept, and how many concepts and pictures are in it."""
        kept = np.isin(self.uids, np.array(list(uids)))
        fits = kept & self.right
        pictures = len(np.unique(self.picture[fits]))
        return {
            "kept": int(kept.sum()),
            "swapped %": 100 * self.mismatched[kept].mean(),
            "noise %": 100 * np.isin(self.kind[kept], ("noise", "boilerplate")).mean(),
            "repeats %": 100 * (fits.sum() - pictures) / kept.sum(),
            "clothes %": 100 * self.clothes[kept].mean(),
            "classes": _in_effect(self.concept[fits & self.clothes]),
            "emoji": _in_effect(self.concept[fits & ~self.clothes]),
        }


def _in_effect(concepts: npt.NDArray[np.str_]) -> float:
    """Return exp(entropy): how many concepts there are, rare ones counting little."""
    shares = np.unique(concepts, return_counts=True)[1] / max(len(concepts), 1)
    return float(np.exp(-(shares * np.log(shares)).sum()))
