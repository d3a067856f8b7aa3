"""The pictures of a pool: ten classes and many concepts, cut into parts that share no picture."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from benchmarks.lib import fashion_mnist
from benchmarks.quality.pool import clip_art, digits
from benchmarks.quality.pool.captions import CLOTHES_AND_EMOJI, DIGITS_AND_CLIP_ART, Vocabulary
from benchmarks.quality.pool.settings import PictureSource
from filtering.demo.openmoji import TONES, pictures, rasterise

Uint8 = npt.NDArray[np.uint8]
Int64 = npt.NDArray[np.int64]

SIDE, DRAWN_SIDE = 32, 96
# Parts of a training file, as shares of its rows; the test file is the test.
POOL_PART, MODEL_PART, VALIDATION_PART = (0, 45 / 60), (45 / 60, 53 / 60), (53 / 60, 1)
POOL_CONCEPTS, GALLERY = 1_200, 400
VOCABULARIES: dict[PictureSource, Vocabulary] = {
    "clothes and emoji": CLOTHES_AND_EMOJI,
    "digits and clip art": DIGITS_AND_CLIP_ART,
}


@dataclass(frozen=True, slots=True)
class Folders:
    """Where Debian's packages have the pictures."""

    fashion_mnist: Path = fashion_mnist.FOLDER
    clip_art: Path = clip_art.FOLDER


@dataclass(frozen=True, slots=True)
class Classes:
    """Pictures, uint8 (n, 32, 32), and classes, int64 (n,), 0 to 9."""

    pixels: Uint8
    labels: Int64

    def part(self, part: tuple[float, float]) -> "Classes":
        """Return the rows between two shares of all."""
        rows = slice(*(round(share * len(self.labels)) for share in part))
        return Classes(self.pixels[rows], self.labels[rows])


@dataclass(frozen=True, slots=True)
class Concept:
    """A thing of which there is one picture.

    Attributes
    ----------
    key : of the picture, in its source.
    raster : returns the picture of a key on white, RGB of some pixels a side.
    held_out : whether nothing is trained on it.
    """

    key: str
    name: str
    raster: Callable[[str, int], Image.Image]
    held_out: bool


@dataclass(frozen=True, slots=True)
class Concepts:
    """The concepts of a source, in parts.

    Attributes
    ----------
    pool : concepts of the pool, the most frequent first; the pictures of the validation and of the test are other
        drawings of some of these, frequent and rare ones alike.
    known : concepts that a filtering model may be trained on, in other drawings again: half of the pool's, and others.
    unseen : concepts without any picture in the pool or the training of a filtering model.
    """

    pool: list[Concept]
    known: list[Concept]
    unseen: list[Concept]

    @property
    def validation(self) -> list[Concept]:
        return self.pool[0::3][:GALLERY]

    @property
    def test(self) -> list[Concept]:
        return self.pool[1::3][:GALLERY]


@dataclass(frozen=True, slots=True)
class Sources:
    """The pictures that all parts are cut from; `drawn` are the concepts' by key, each drawn once."""

    train: Classes
    test: Classes
    concepts: Concepts
    vocabulary: Vocabulary
    drawn: dict[str, Image.Image] = field(default_factory=dict)


def sources(kind: PictureSource, folders: Folders, seed: int = 0, scale: float = 1.0) -> Sources:
    """Return the pictures of a kind; exits with one line if their package is missing."""
    if kind == "clothes and emoji":
        train, test = (_clothes(folders.fashion_mnist, name) for name in ("train", "t10k"))
        found = _emoji()
    else:
        train, test = (Classes(*part) for part in digits.drawn_parts(SIDE, seed))
        found = [
            Concept(art.key, art.name, clip_art.rasterise, art.held_out) for art in clip_art.pictures(folders.clip_art)
        ]
    return Sources(train, test, _parted(found, seed, scale), VOCABULARIES[kind])


def drawing(concept: Concept, random: np.random.Generator, cache: dict[str, Image.Image]) -> Uint8:
    """Draw a concept turned, scaled, shifted and on paper of some colour: uint8 (32, 32, 3)."""
    if concept.key not in cache:
        cache[concept.key] = concept.raster(concept.key, DRAWN_SIDE)
    angle, scale = random.uniform(-15, 15), random.uniform(0.95, 1.3)
    shift = random.uniform(-6, 6, 2)
    cosine, sine = scale * np.cos(np.radians(angle)), scale * np.sin(np.radians(angle))
    centre = DRAWN_SIDE / 2
    across = centre - cosine * centre - sine * centre + shift[0]
    down = centre + sine * centre - cosine * centre + shift[1]
    turned = cache[concept.key].transform(
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


def _clothes(folder: Path, name: str) -> Classes:
    border = (SIDE - fashion_mnist.SIDE) // 2
    padded = np.pad(fashion_mnist.images(folder, name), ((0, 0), (border, border), (border, border)))
    return Classes(padded, fashion_mnist.labels(folder, name))


def _emoji() -> list[Concept]:
    """Return OpenMoji's pictures without skin tones."""
    return [
        Concept(picture.hexcode, picture.caption, rasterise, picture.held_out)
        for picture in pictures()
        if TONES.isdisjoint(picture.hexcode.split("-"))
    ]


def _parted(found: Sequence[Concept], seed: int, scale: float) -> Concepts:
    """Part concepts by `seed`; of each part only a share, the most frequent, if `scale` is below 1."""
    rest = [concept for concept in found if not concept.held_out]
    order = [rest[at] for at in np.random.default_rng((seed, 1)).permutation(len(rest))]
    inside, outside = _cut(order[:POOL_CONCEPTS], scale), _cut(order[POOL_CONCEPTS:], scale)
    return Concepts(inside, [*inside[::2], *outside], _cut([concept for concept in found if concept.held_out], scale))


def _cut(chosen: list[Concept], scale: float) -> list[Concept]:
    return chosen[: round(scale * len(chosen))]
