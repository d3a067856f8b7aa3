"""The pool as trainers take it: every pair of the tars, by uid."""

import io
import json
import tarfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks.quality.pool.evaluation import channels_first
from benchmarks.quality.pool.sources import Uint8
from benchmarks.quality.pool.towers import tokens
from benchmarks.quality.pool.training import Pairs


class Pool:
    """Every pair, decoded once.

    Attributes
    ----------
    uids : in the order of `pairs`.
    """

    def __init__(self, folder: Path) -> None:
        images, captions, self.uids = [], [], []
        for path in sorted(folder.glob("*.tar")):
            for image, caption, uid in _samples(path):
                images.append(image)
                captions.append(caption)
                self.uids.append(uid)
        self.pairs = Pairs(channels_first(np.stack(images)), tokens(captions))
        self._rows = {uid: row for row, uid in enumerate(self.uids)}

    def kept(self, uids: Iterable[str]) -> Pairs:
        """Return the pairs of these uids, in the order of the pool."""
        return self.pairs.rows(torch.tensor(sorted(self._rows[uid] for uid in uids)))


def _samples(path: Path) -> Iterable[tuple[Uint8, str, str]]:
    with tarfile.open(path) as tar:
        parts: dict[str, bytes] = {}
        for member in tar:
            stream = tar.extractfile(member)
            assert stream is not None
            parts[Path(member.name).suffix] = stream.read()
            if len(parts) == 3:
                image = np.asarray(Image.open(io.BytesIO(parts[".jpg"])).convert("RGB"))
                yield image, parts[".txt"].decode(), json.loads(parts[".json"])["uid"]
                parts = {}
