"""The model that judges the pool: a small open_clip CLIP, trained on clean pairs that nothing else is made of."""

import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import open_clip
import torch
from safetensors.torch import save_file
from torch import Tensor

from benchmarks.lib.contrastive import contrastive_loss, warm_cosine
from benchmarks.quality.pool.captions import Vocabulary
from benchmarks.quality.pool.sources import SIDE

NAME = "pool-judge"
MODEL = {
    "embed_dim": 96,
    "vision_cfg": {"image_size": SIDE, "layers": [1, 1, 1, 1], "width": 16, "head_width": 64},
    "text_cfg": {"context_length": 20, "vocab_size": 49408, "width": 64, "heads": 4, "layers": 1},
}
BATCH, PEAK_RATE, WARM_UP, WEIGHT_DECAY = 192, 2e-3, 100, 0.2
MOST_SCALE = math.log(100)
Int64 = npt.NDArray[np.int64]
Uint8 = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Judge:
    """All that decides a filtering model.

    Attributes
    ----------
    steps : batches of its training.
    known : share of the concepts kept for filtering models that it is trained on.
    """

    name: str
    steps: int = 1_200
    known: float = 1.0

    def plain(self) -> dict[str, Any]:
        """Return every setting, as plain data."""
        return asdict(self)


STRONG = Judge("strong")
JUDGES = {judge.name: judge for judge in (STRONG, Judge("weak", steps=45, known=0.1))}


@dataclass(frozen=True, slots=True)
class CleanPairs:
    """Pictures, uint8 (n, 32, 32, 3): first those of classes, int64 (m,), then those of concepts by name, (n - m,)."""

    images: Uint8
    labels: Int64
    names: npt.NDArray[np.str_]
    vocabulary: Vocabulary

    def captions(self, rows: Int64, random: np.random.Generator) -> list[str]:
        """Return captions of some pairs, drawn anew."""
        words, classes = self.vocabulary, len(self.labels)
        return [
            words.class_caption(int(self.labels[row]), random)
            if row < classes
            else words.concept_caption(str(self.names[row - classes]), random)
            for row in rows.tolist()
        ]

    def with_known(self, share: float) -> "CleanPairs":
        """Return the pairs of all classes and of a share of the concepts, spread over all of them."""
        concepts = list(dict.fromkeys(self.names.tolist()))
        known = [concepts[int(at / share)] for at in range(round(share * len(concepts)))]
        chosen = np.isin(self.names, known)
        images = self.images[np.concatenate([np.ones(len(self.labels), dtype=bool), chosen])]
        return CleanPairs(images, self.labels, self.names[chosen], self.vocabulary)


def model_paths(folder: Path) -> tuple[Path, Path]:
    """Return where the model's configuration and weights are, as `embedding.model` and `pretrained` take them."""
    return folder / f"{NAME}.json", folder / f"{NAME}.safetensors"


def train_judge(pool: Path, folder: Path, judge: Judge, vocabulary: Vocabulary, seed: int = 0) -> None:
    """Train on the pool's `model.npz` and write both files, unless they are there."""
    config, weights = model_paths(folder)
    if weights.exists():
        return
    config.write_text(json.dumps(MODEL, indent=1))
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    open_clip.add_model_config(str(config))
    with np.load(pool / "model.npz") as held:
        pairs = CleanPairs(held["images"], held["labels"], held["names"], vocabulary).with_known(judge.known)
    model = _trained(open_clip.create_model(NAME), pairs, judge.steps, seed)
    # Under its name only when it is whole.
    part = weights.with_suffix(".part")
    save_file({name: weight.contiguous() for name, weight in model.state_dict().items()}, part)
    part.replace(weights)


def _trained(model: open_clip.CLIP, pairs: CleanPairs, steps: int, seed: int) -> open_clip.CLIP:
    adam = torch.optim.AdamW(model.parameters(), lr=PEAK_RATE, betas=(0.9, 0.98), weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.LambdaLR(adam, lambda step: warm_cosine(step, steps, WARM_UP))
    model.train()
    for step, (images, texts) in enumerate(_batches(pairs, steps, seed)):
        loss = _loss(model, images, texts)
        adam.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        adam.step()
        schedule.step()
        with torch.no_grad():
            model.logit_scale.clamp_(0, MOST_SCALE)
        if step % 100 == 0:
            print(f"filtering model: step {step} of {steps}, loss {loss.item():.3f}", flush=True)
    return model


def _loss(model: open_clip.CLIP, images: Tensor, texts: Tensor) -> Tensor:
    image, text, scale = model(images, texts)
    # Pairs of one class are negatives of one another, as they are where CLIP is trained.
    return contrastive_loss(scale * image @ text.T)


def _batches(pairs: CleanPairs, steps: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    random = np.random.default_rng((seed, 7))
    tokenizer = open_clip.get_tokenizer(NAME)
    mean = torch.tensor(open_clip.OPENAI_DATASET_MEAN).view(3, 1, 1)
    deviation = torch.tensor(open_clip.OPENAI_DATASET_STD).view(3, 1, 1)
    for _ in range(steps):
        rows = random.choice(len(pairs.images), min(BATCH, len(pairs.images)), replace=False)
        pixels = torch.from_numpy(pairs.images[rows]).permute(0, 3, 1, 2).float() / 255
        shift = random.integers(-2, 3, 2).tolist()
        yield (torch.roll(pixels, shift, (2, 3)) - mean) / deviation, tokenizer(pairs.captions(rows, random))
