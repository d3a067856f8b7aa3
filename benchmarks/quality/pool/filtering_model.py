"""The model that judges the pool: a small open_clip CLIP, trained on clean pairs that nothing else is made of."""

import json
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import open_clip
import torch
from safetensors.torch import save_file
from torch import Tensor

from benchmarks.lib.contrastive import contrastive_loss, warm_cosine
from benchmarks.quality.pool.captions import clothes_caption, emoji_caption
from benchmarks.quality.pool.sources import SIDE

NAME = "pool-judge"
MODEL = {
    "embed_dim": 96,
    "vision_cfg": {"image_size": SIDE, "layers": [1, 1, 1, 1], "width": 16, "head_width": 64},
    "text_cfg": {"context_length": 20, "vocab_size": 49408, "width": 64, "heads": 4, "layers": 1},
}
STEPS, BATCH, PEAK_RATE, WARM_UP, WEIGHT_DECAY = 1_200, 192, 2e-3, 100, 0.2
MOST_SCALE = math.log(100)


def model_paths(folder: Path) -> tuple[Path, Path]:
    """Return where the model's configuration and weights are, as `embedding.model` and `pretrained` take them."""
    return folder / f"{NAME}.json", folder / f"{NAME}.safetensors"


def train_judge(folder: Path, steps: int = STEPS, seed: int = 0) -> None:
    """Train on `model.npz` and write both files, unless they are there."""
    config, weights = model_paths(folder)
    if weights.exists():
        return
    config.write_text(json.dumps(MODEL, indent=1))
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    open_clip.add_model_config(str(config))
    model = _trained(open_clip.create_model(NAME), folder / "model.npz", steps, seed)
    save_file({name: weight.contiguous() for name, weight in model.state_dict().items()}, weights)


def _trained(model: open_clip.CLIP, pairs: Path, steps: int, seed: int) -> open_clip.CLIP:
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


def _batches(path: Path, steps: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    pairs, random = np.load(path), np.random.default_rng((seed, 7))
    images, labels, names = (pairs[name] for name in ("images", "labels", "names"))
    tokenizer = open_clip.get_tokenizer(NAME)
    mean = torch.tensor(open_clip.OPENAI_DATASET_MEAN).view(3, 1, 1)
    deviation = torch.tensor(open_clip.OPENAI_DATASET_STD).view(3, 1, 1)
    for _ in range(steps):
        rows = random.choice(len(images), BATCH, replace=False)
        pixels = torch.from_numpy(images[rows]).permute(0, 3, 1, 2).float() / 255
        shift = random.integers(-2, 3, 2).tolist()
        yield (torch.roll(pixels, shift, (2, 3)) - mean) / deviation, tokenizer(_texts(rows, labels, names, random))


def _texts(
    rows: npt.NDArray[np.int64],
    labels: npt.NDArray[np.int64],
    names: npt.NDArray[np.str_],
    random: np.random.Generator,
) -> list[str]:
    clothes = len(labels)
    return [
        clothes_caption(int(labels[row]), random) if row < clothes else emoji_caption(str(names[row - clothes]), random)
        for row in rows.tolist()
    ]
