"""What a trained model can do on clean pictures that nothing was trained on."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.quality.pool.captions import Vocabulary
from benchmarks.quality.pool.sources import Uint8, colour
from benchmarks.quality.pool.towers import Clip, tokens

Figures = dict[str, float]
CHUNK = 1_000


class Examination:
    """The pictures and prompts of `validation.npz` or `test.npz`, loaded once."""

    def __init__(self, path: Path, vocabulary: Vocabulary) -> None:
        held, self.vocabulary = np.load(path), vocabulary
        self.clothes = channels_first(colour(held["clothes"]))
        self.labels = torch.from_numpy(held["labels"])
        self.gallery, self.names = channels_first(held["gallery"]), held["names"].tolist()
        self.unseen, self.unseen_names = channels_first(held["unseen"]), held["unseen_names"].tolist()

    @torch.inference_mode()
    def figures(self, model: Clip) -> Figures:
        """Return shares in percent: zero-shot accuracy, both retrievals, those of concepts that no pool had."""
        words = self.vocabulary
        classes = _prompts(model, [names[0] for names in words.classes], words.class_templates)
        guesses = (_embedded(model, self.clothes) @ classes.T).argmax(dim=1)
        zero_shot = _percent(guesses == self.labels)
        names = _prompts(model, self.names, words.concept_templates)
        to_text, to_image = _recalls(_embedded(model, self.gallery), names)
        unseen = _recalls(_embedded(model, self.unseen), _prompts(model, self.unseen_names, words.concept_templates))
        return {
            "zero-shot": zero_shot,
            "image to text": to_text,
            "text to image": to_image,
            # One figure for all: classes and concepts count alike.
            "mean": zero_shot / 2 + (to_text + to_image) / 4,
            "unseen": sum(unseen) / 2,
        }


def channels_first(pixels: Uint8) -> Tensor:
    """Return uint8 (n, 32, 32, 3) as (n, 3, 32, 32)."""
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)))


def _prompts(model: Clip, names: list[str], templates: tuple[str, ...]) -> Tensor:
    each = torch.stack([model.texts(tokens([template.format(name) for name in names])) for template in templates])
    return functional.normalize(each.mean(dim=0), dim=-1)


def _embedded(model: Clip, images: Tensor) -> Tensor:
    return torch.cat([model.images(part) for part in torch.split(images, CHUNK)])


def _recalls(images: Tensor, names: Tensor) -> tuple[float, float]:
    """Return R@1 of pictures' names and of names' pictures; a name has one picture or several, one after another."""
    each = len(images) // len(names)
    cosines = images @ names.T
    owner = torch.arange(len(names)).repeat_interleave(each)
    to_image = cosines.argmax(dim=0) // each == torch.arange(len(names))
    return _percent(cosines.argmax(dim=1) == owner), _percent(to_image)


def _percent(right: Tensor) -> float:
    return 100 * right.float().mean().item()
