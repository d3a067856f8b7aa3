"""The pictures: Fashion-MNIST by class and OpenMoji by concept, cut into parts that share no picture."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from benchmarks.lib import fashion_mnist
from filtering.demo.openmoji import TONES, Picture, pictures, rasterise

Uint8 = npt.NDArray[np.uint8]
Int64 = npt.NDArray[np.int64]

SIDE, DRAWN_SIDE = 32, 96
# Parts of Fashion-MNIST's training file, as shares of its rows; its test file is the test.
POOL_PART, MODEL_PART, VALIDATION_PART = (0, 45 / 60), (45 / 60, 53 / 60), (53 / 60, 1)
POOL_CONCEPTS, GALLERY = 1_200, 400


@dataclass(frozen=True, slots=True)
class Clothes:
    """Pictures, uint8 (n, 32, 32), and classes, int64 (n,), 0 to 9."""

    pixels: Uint8
    labels: Int64

    def part(self, part: tuple[float, float]) -> "Clothes":
        """Return the rows between two shares of all."""
        rows = slice(*(round(share * len(self.labels)) for share in part))
        return Clothes(self.pixels[rows], self.labels[rows])


@dataclass(frozen=True, slots=True)
class Emoji:
    """OpenMoji's pictures without skin tones, in parts.

    Attributes
    ----------
    pool : concepts of the pool, the most frequent first; the pictures of the validation and of the test are other
        drawings of some of these, frequent and rare ones alike.
    known : concepts that the filtering model is trained on, in other drawings again: half of the pool's, and others.
    unseen : concepts without any picture in the pool or the training of the filtering model.
    """

    pool: list[Picture]
    known: list[Picture]
    unseen: list[Picture]

    @property
    def validation(self) -> list[Picture]:
        return self.pool[0::3][:GALLERY]

    @property
    def test(self) -> list[Picture]:
        return self.pool[1::3][:GALLERY]


def clothes(folder: Path, name: str) -> Clothes:
    """Read `train` or `t10k`; exits with one line if the files are missing."""
    border = (SIDE - fashion_mnist.SIDE) // 2
    padded = np.pad(fashion_mnist.images(folder, name), ((0, 0), (border, border), (border, border)))
    return Clothes(padded, fashion_mnist.labels(folder, name))


def emoji(seed: int = 0, scale: float = 1.0) -> Emoji:
    """Return the concepts, parted by `seed`; of each part only a share, the most frequent, if `scale` is below 1."""
    plain = [picture for picture in pictures() if TONES.isdisjoint(picture.hexcode.split("-"))]
    rest = [picture for picture in plain if not picture.held_out]
    order = [rest[at] for at in np.random.default_rng((seed, 1)).permutation(len(rest))]
    inside, outside = _cut(order[:POOL_CONCEPTS], scale), _cut(order[POOL_CONCEPTS:], scale)
    return Emoji(inside, [*inside[::2], *outside], _cut([picture for picture in plain if picture.held_out], scale))


def drawing(picture: Picture, random: np.random.Generator, cache: dict[str, Image.Image]) -> Uint8:
    """Draw a picture turned, scaled, shifted and on paper of some colour: uint8 (32, 32, 3)."""
    if picture.hexcode not in cache:
        cache[picture.hexcode] = rasterise(picture.hexcode, DRAWN_SIDE)
    angle, scale = random.uniform(-15, 15), random.uniform(0.95, 1.3)
    shift = random.uniform(-6, 6, 2)
    cosine, sine = scale * np.cos(np.radians(angle)), scale * np.sin(np.radians(angle))
    centre = DRAWN_SIDE / 2
    across = centre - cosine * centre - sine * centre + shift[0]
    down = centre + sine * centre - cosine * centre + shift[1]
    turned = cache[picture.hexcode].transform(
        (DRAWN_SIDE, DRAWN_SIDE),
        Image.Transform.AFFINE,
        (cosine, sine, across, -sine, cosine, down),
        Image.Resampling.BILINEAR,
        fillcolor=(255, 255, 255),
    )
    small = np.asarray(turned.resize((SIDE, SIDE), Image.Resampling.BOX), dtype=np.float32)
    return (small * random.uniform(0.7, 1.0, 3)).astype(np.uint8)


def colour(grey: Uint8) -> Uint8:
    """Return a grey picture as RGB, uint8 (..., 32, 32, 3)."""
    return np.repeat(grey[..., None], 3, axis=-1)


def _cut(chosen: list[Picture], scale: float) -> list[Picture]:
    return chosen[: round(scale * len(chosen))]
