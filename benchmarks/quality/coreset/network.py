"""The networks: one small enough for a CPU core, and a residual one of CIFAR's size for a GPU."""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.quality.coreset.data import CLASSES

WIDTHS = (16, 16, 32)
WIDE = (64, 128, 256)
# Pixels left by the small network's three strides of 2, and how many features it makes of them.
POOLED, FEATURES = 16, 128


class Network(nn.Module):
    """A body that makes features, float32 (n, features), and a linear head, float32 (n, CLASSES)."""

    def __init__(self, body: nn.Module, features: int) -> None:
        super().__init__()
        self.body, self.head = body, nn.Linear(features, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits of images, float32 (n, 1, 28, 28)."""
        logits: Tensor = self.head(self.body(images))
        return logits


class Residual(nn.Module):
    """Two convolutions beside a shortcut, the second half as many pixels each way."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.first = _convolved(before, after, 3, stride)
        self.second = nn.Sequential(nn.Conv2d(after, after, 3, 1, 1, bias=False), nn.BatchNorm2d(after))
        self.shortcut = nn.Identity() if before == after else nn.Conv2d(before, after, 1, stride, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        """Return what the block makes of images, float32 (n, before, h, w)."""
        return functional.relu(self.second(self.first(images)) + self.shortcut(images))


def network(device: str) -> Network:
    """Return an untrained network, channels last: small on a CPU, residual on a GPU."""
    made = _small() if device == "cpu" else _residual()
    return made.to(device).to(memory_format=torch.channels_last)


def _small() -> Network:
    first, *others = WIDTHS
    layers = [_convolved(1, first, 5, 2), *(_convolved(*widths, 3, 2) for widths in pairwise((first, *others)))]
    layers += [nn.Flatten(), nn.Linear(WIDTHS[-1] * POOLED, FEATURES), nn.ReLU(inplace=True)]
    return Network(nn.Sequential(*layers), FEATURES)


def _residual() -> Network:
    blocks = [Residual(WIDE[0], WIDE[0], 1), *(Residual(*widths, 2) for widths in pairwise(WIDE))]
    body = nn.Sequential(_convolved(1, WIDE[0], 3, 1), *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return Network(body, WIDE[-1])


def _convolved(before: int, after: int, side: int, stride: int) -> nn.Module:
    convolution = nn.Conv2d(before, after, side, stride, side // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(after), nn.ReLU(inplace=True))
