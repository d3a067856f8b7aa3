"""The pictures: Fashion-MNIST by class and OpenMoji by concept, cut into parts that share no picture."""

import gzip
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from filtering.demo.openmoji import TONES, Picture, pictures, rasterise

Uint8 = npt.NDArray[np.uint8]
Int64 = npt.NDArray[np.int64]

FASHION_MNIST = "/usr/share/datasets/fashion-mnist"
SIDE, FASHION_SIDE, DRAWN_SIDE = 32, 28, 96
HEADER = {"images": 16, "labels": 8}
# Rows of Fashion-MNIST's training file; its test file is the test.
POOL_ROWS, MODEL_ROWS, VALIDATION_ROWS = slice(0, 45_000), slice(45_000, 53_000), slice(53_000, 60_000)
POOL_CONCEPTS, GALLERY = 1_200, 400


@dataclass(frozen=True, slots=True)
class Clothes:
    """Pictures, uint8 (n, 32, 32), and classes, int64 (n,), 0 to 9."""

    pixels: Uint8
    labels: Int64

    def part(self, rows: slice) -> "Clothes":
        return Clothes(self.pixels[rows], self.labels[rows])


@dataclass(frozen=True, slots=True)
class Emoji:
    """OpenMoji's pictures without skin tones, by who may see them.

    Attributes
    ----------
    pool : concepts of the pool, the most frequent first; pictures of the validation and of the test are other drawings
        of some of these, frequent and rare ones alike.
    known : those that the filtering model was trained on, as other drawings again: half of the pool's, and others.
    unseen : concepts of which neither the pool nor the filtering model has any picture.
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


def clothes(folder: str, name: str) -> Clothes:
    """Read `train` or `t10k`; exits with one line where the files are not there."""
    images = _idx(folder, name, "images").reshape(-1, FASHION_SIDE, FASHION_SIDE)
    border = (SIDE - FASHION_SIDE) // 2
    padded = np.pad(images, ((0, 0), (border, border), (border, border)))
    return Clothes(padded, _idx(folder, name, "labels").astype(np.int64))


def emoji(seed: int = 0) -> Emoji:
    """Return the concepts, cut by `seed`."""
    plain = [picture for picture in pictures() if TONES.isdisjoint(picture.hexcode.split("-"))]
    rest = [picture for picture in plain if not picture.held_out]
    order = [rest[at] for at in np.random.default_rng((seed, 1)).permutation(len(rest))]
    inside, outside = order[:POOL_CONCEPTS], order[POOL_CONCEPTS:]
    return Emoji(inside, [*inside[::2], *outside], [picture for picture in plain if picture.held_out])


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


def _idx(folder: str, name: str, kind: str) -> Uint8:
    dimensions = {"images": 3, "labels": 1}[kind]
    path = Path(folder) / f"{name}-{kind}-idx{dimensions}-ubyte.gz"
    if not path.is_file():
        sys.exit(f"skipped: {path} is not there (apt-get install dataset-fashion-mnist)")
    with gzip.open(path) as stream:
        return np.frombuffer(stream.read(), dtype=np.uint8, offset=HEADER[kind])
