"""Train the demo's own CLIP model from scratch on the OpenMoji pictures, on two CPU cores.

    python -m benchmarks.quality.demo_clip --out filtering/embedding/demo_clip
    python -m benchmarks.quality.demo_clip --evaluate

The first writes `weights.safetensors` and `card.json`; the second measures the weights in --out and writes nothing.
Pictures whose `held_out` is true are never trained on.
"""

import ctypes
import json
import math
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from benchmarks.lib.arguments import parser_of
from benchmarks.lib.contrastive import contrastive_loss
from benchmarks.lib.timing import timed
from benchmarks.quality.demo_clip.figures import HOME, build, decode, figures, is_toned, parted, tokenised
from filtering.demo.openmoji import Picture, rasterise
from filtering.demo.pool import NEAR_DUPLICATES, encode_jpeg

THREADS = 2
BATCH = 256
PEAK_RATE = 2e-3
WARMUP_STEPS = 100
WEIGHT_DECAY = 0.2
MAXIMUM_LOGIT_SCALE = math.log(100)
MALLOPT_MMAP_THRESHOLD = -3
PREFIXES = ("a picture of ", "an emoji of ", "an icon of ", "a drawing of ")
# Mirroring one of these would contradict its caption.
ONE_HANDED = re.compile(
    r"left|right|clock|flag|keycap|button|letter|symbol|sign|arrow|mark|o’clock|thirty|map|number|square|half|"
    r"ABC|text|abacus|numbers|hours|moon|ZZZ|Japanese|Statue|Tower"
)


def image_bank(chosen: Sequence[Picture]) -> Tensor:
    """Every picture in every codec the pool can hold it in: uint8, (codecs, pictures, 3, 128, 128)."""
    bank = torch.empty(1 + len(NEAR_DUPLICATES), len(chosen), 3, 128, 128, dtype=torch.uint8)
    for column, picture in enumerate(chosen):
        image = rasterise(picture.hexcode)
        for row, encode in enumerate((encode_jpeg, *NEAR_DUPLICATES)):
            pixels = np.asarray(decode(encode(image)).resize((128, 128), Image.Resampling.BICUBIC))
            bank[row, column] = torch.from_numpy(pixels.copy()).permute(2, 0, 1)
    return bank


def epoch_order(chosen: Sequence[Picture], random: np.random.Generator) -> NDArray[np.int64]:
    """Order one epoch: every untoned picture and one skin tone of each base that has them."""
    toned: dict[str, list[int]] = {}
    order = []
    for index, picture in enumerate(chosen):
        if is_toned(picture):
            toned.setdefault(picture.base, []).append(index)
        else:
            order.append(index)
    order += [int(random.choice(indices)) for indices in toned.values()]
    return random.permutation(np.array(order))


def reworded(caption: str, random: np.random.Generator) -> str:
    """Vary a caption a little: a prefix, or one word left out."""
    fate = random.random()
    words = caption.split()
    if fate < 0.3 and len(words) > 2:
        del words[random.integers(len(words))]
        return " ".join(words)
    if fate < 0.5:
        return f"{PREFIXES[random.integers(len(PREFIXES))]}{caption}"
    return caption


def augmented(pixels: Tensor, may_flip: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """Shift, scale, turn, mirror and recolour a batch: (n, 3, 128, 128) uint8 to (n, 3, size, size) float."""
    count = len(pixels)

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return torch.rand(count, *shape, generator=generator) * (high - low) + low

    angle, scale = uniform(-0.25, 0.25), uniform(0.78, 1.2)
    mirror = torch.where(may_flip & (uniform(0, 1) < 0.5), -1.0, 1.0)
    cosine, sine = scale * angle.cos(), scale * angle.sin()
    theta = torch.stack([cosine * mirror, -sine, uniform(-0.13, 0.13)], 1)
    theta = torch.stack([theta, torch.stack([sine * mirror, cosine, uniform(-0.13, 0.13)], 1)], 1)
    grid = F.affine_grid(theta, [count, 3, size, size], align_corners=False)
    # Outside the picture is white, which is what zero padding gives on the inverted image.
    inverted = F.grid_sample(1 - pixels.float() / 255, grid, align_corners=False)
    image = (1 - inverted) * uniform(0.85, 1.1, 1, 1, 1) * uniform(0.88, 1.08, 3, 1, 1)
    grey = image.mean(1, keepdim=True)
    return (grey + (image - grey) * uniform(0.75, 1.3, 1, 1, 1)).clamp(0, 1)


def batches(
    chosen: Sequence[Picture], epochs: int, batch: int, seed: int, size: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield normalised images and token ids, in an order that depends on `seed` alone."""
    random, generator = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    bank = image_bank(chosen)
    may_flip = torch.tensor([not ONE_HANDED.search(picture.caption) for picture in chosen])
    mean = torch.tensor(open_clip.OPENAI_DATASET_MEAN).view(3, 1, 1)
    deviation = torch.tensor(open_clip.OPENAI_DATASET_STD).view(3, 1, 1)
    for _ in range(epochs):
        order = epoch_order(chosen, random)
        for start in range(0, len(order) - batch + 1, batch):
            index = torch.from_numpy(order[start : start + batch])
            codec = torch.from_numpy(random.integers(len(bank), size=batch))
            images = augmented(bank[codec, index], may_flip[index], size, generator)
            texts = torch.stack([tokenised(reworded(chosen[i].caption, random)) for i in index])
            yield (images - mean) / deviation, texts


def clip_loss(model: open_clip.CLIP, images: Tensor, texts: Tensor) -> Tensor:
    """CLIP's symmetric cross entropy over one batch."""
    with torch.autocast("cpu", torch.bfloat16):
        image, text, scale = model(images, texts)
    return contrastive_loss(scale * image.float() @ text.float().T)


def optimiser(model: open_clip.CLIP) -> torch.optim.AdamW:
    """AdamW that decays the matrices and leaves gains, biases and the logit scale alone."""
    matrices = [weight for weight in model.parameters() if weight.ndim >= 2]
    vectors = [weight for weight in model.parameters() if weight.ndim < 2]
    groups: list[dict[str, Any]] = [{"params": matrices}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=PEAK_RATE, betas=(0.9, 0.98), weight_decay=WEIGHT_DECAY)


def learning_rate(step: int, steps: int) -> float:
    """Linear warm-up, then a half cosine to zero, as a share of the peak."""
    if step < WARMUP_STEPS:
        return (step + 1) / WARMUP_STEPS
    return 0.5 * (1 + math.cos(math.pi * (step - WARMUP_STEPS) / max(1, steps - WARMUP_STEPS)))


def train(chosen: Sequence[Picture], epochs: int, batch: int, seed: int) -> open_clip.CLIP:
    """Train the model from scratch; returns it in evaluation mode."""
    torch.manual_seed(seed)
    model, _ = build()
    per_epoch = len(epoch_order(chosen, np.random.default_rng(seed))) // batch
    steps = epochs * per_epoch
    adam = optimiser(model)
    schedule = torch.optim.lr_scheduler.LambdaLR(adam, lambda step: learning_rate(step, steps))
    model.train()
    for step, (images, texts) in enumerate(batches(chosen, epochs, batch, seed, model.visual.image_size)):
        loss = clip_loss(model, images, texts)
        adam.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        adam.step()
        schedule.step()
        with torch.no_grad():
            model.logit_scale.clamp_(0, MAXIMUM_LOGIT_SCALE)
        if step % 50 == 0:
            print(f"step {step}/{steps} loss {loss.item():.3f}", flush=True)
    return model.eval()


def save(model: open_clip.CLIP, path: Path) -> None:
    """Write the weights, floating point as float16."""
    state = {
        name: weight.half().contiguous() if weight.is_floating_point() else weight
        for name, weight in model.state_dict().items()
    }
    save_file(state, path)
    # safetensors makes the file private, and an installed package must be readable by everyone.
    path.chmod(0o644)


def bound_heap() -> None:
    """Keep batch-sized blocks out of glibc's heap, where they would fragment it by 12 MB a step."""
    if sys.platform == "linux":
        ctypes.CDLL(None).mallopt(MALLOPT_MMAP_THRESHOLD, 1 << 20)


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, save, measure; or only measure."""
    parser = parser_of(__doc__)
    parser.add_argument("--out", type=Path, default=HOME, help="folder of weights.safetensors and card.json")
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--batch-size", type=int, default=BATCH)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pictures", type=int, help="how many to train and to measure on; all by default")
    parser.add_argument("--evaluate", action="store_true", help="measure the weights in --out and stop")
    options = parser.parse_args(arguments)
    bound_heap()
    torch.set_num_threads(THREADS)
    torch.use_deterministic_algorithms(True)
    weights = options.out / "weights.safetensors"
    if options.evaluate:
        print(json.dumps(figures(weights, options.pictures), indent=2))
        return 0
    options.out.mkdir(parents=True, exist_ok=True)
    seen, _ = parted(options.pictures)
    seconds, model = timed(lambda: train(seen, options.epochs, options.batch_size, options.seed))
    save(model, weights)
    card = {
        "command": f"python -m benchmarks.quality.demo_clip --epochs {options.epochs} --seed {options.seed}",
        "training_minutes": round(seconds / 60, 1),
        "threads": THREADS,
        **figures(weights, options.pictures),
    }
    (options.out / "card.json").write_text(json.dumps(card, indent=2) + "\n")
    print(json.dumps(card, indent=2))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
