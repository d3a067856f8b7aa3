"""The model that is trained on what was kept: a convolution for pictures, a bag of words for captions."""

import re
import zlib
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

WORDS, LONGEST, WIDTHS, DIMENSION, HIDDEN = 4_096, 16, (24, 48, 96), 96, 128
SCALE = 20.0
WORD = re.compile(r"[\w’'-]+")


class Clip(nn.Module):
    """Both towers and the scale of their cosines."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in zip((3, *WIDTHS), WIDTHS, strict=False):
            convolution = nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False)
            layers += [convolution, nn.BatchNorm2d(after), nn.ReLU()]
        self.image = nn.Sequential(*layers, nn.Flatten(), nn.Linear(WIDTHS[-1] * 16, DIMENSION))
        self.words = nn.EmbeddingBag(WORDS, HIDDEN, mode="mean", padding_idx=0)
        self.text = nn.Sequential(nn.Linear(HIDDEN, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, DIMENSION))
        self.scale = nn.Parameter(torch.tensor(SCALE).log())

    def images(self, pixels: Tensor) -> Tensor:
        """Return unit vectors of uint8 pictures (n, 3, 32, 32), float32 (n, d)."""
        scaled = (pixels.float() / 127.5 - 1).to(memory_format=torch.channels_last)
        return functional.normalize(self.image(scaled), dim=-1)

    def texts(self, tokens: Tensor) -> Tensor:
        """Return unit vectors of tokens (n, LONGEST), float32 (n, d)."""
        return functional.normalize(self.text(self.words(tokens)), dim=-1)


def tokens(captions: Sequence[str]) -> Tensor:
    """Return the hashes of each caption's words, int64 (n, LONGEST), 0 where there is none."""
    found = torch.zeros(len(captions), LONGEST, dtype=torch.int64)
    for row, caption in enumerate(captions):
        words = WORD.findall(caption.lower())[:LONGEST] or ["?"]
        found[row, : len(words)] = torch.tensor([1 + zlib.crc32(word.encode()) % (WORDS - 1) for word in words])
    return found
