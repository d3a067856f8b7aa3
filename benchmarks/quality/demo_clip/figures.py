"""Figures of the demo's CLIP model, on pictures that it was and was not trained on."""

import io
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from filtering.demo.openmoji import TONES, Picture, pictures, rasterise
from filtering.demo.pool import NEAR_DUPLICATES, encode_jpeg
from filtering.scores.right import auc

MODEL = "filtering-demo"
HOME = Path(__file__).resolve().parents[3] / "filtering" / "embedding" / "demo_clip"
OTHERS = 20

Preprocess = Callable[[Image.Image], Tensor]
Encoder = Callable[[Image.Image], bytes]


def build(weights: Path | None = None) -> tuple[open_clip.CLIP, Preprocess]:
    """Make the model and its preprocessing, as any user of open_clip would."""
    open_clip.add_model_config(HOME / f"{MODEL}.json")
    pretrained = None if weights is None else str(weights)
    model, _, preprocess = open_clip.create_model_and_transforms(MODEL, pretrained=pretrained)
    return model, preprocess


@cache
def tokenised(text: str) -> Tensor:
    """Tokenise one caption: int64, (context length,)."""
    tokens: Tensor = _tokenizer()([text])[0]
    return tokens


@cache
def _tokenizer() -> open_clip.SimpleTokenizer:
    return open_clip.get_tokenizer(MODEL)


def decode(data: bytes) -> Image.Image:
    """Decode a JPEG file to RGB."""
    return Image.open(io.BytesIO(data)).convert("RGB")


def is_toned(picture: Picture) -> bool:
    """Whether the picture is a skin-tone variant of another."""
    return "-" in picture.hexcode and not TONES.isdisjoint(picture.hexcode.split("-"))


@torch.no_grad()
def image_embeddings(
    model: open_clip.CLIP, preprocess: Preprocess, chosen: Sequence[Picture], encode: Encoder = encode_jpeg
) -> NDArray[np.float32]:
    """Embed pictures as files of the pool: (pictures, embedding), rows of length one."""
    pixels = [preprocess(decode(encode(rasterise(picture.hexcode)))) for picture in chosen]
    parts = [model.encode_image(torch.stack(pixels[i : i + 512]), normalize=True) for i in range(0, len(pixels), 512)]
    return np.asarray(torch.cat(parts).numpy(), dtype=np.float32)


@torch.no_grad()
def text_embeddings(model: open_clip.CLIP, chosen: Sequence[Picture]) -> NDArray[np.float32]:
    """Embed captions: (pictures, embedding), rows of length one."""
    tokens = torch.stack([tokenised(picture.caption) for picture in chosen])
    return np.asarray(model.encode_text(tokens, normalize=True).numpy(), dtype=np.float32)


def recalls(similarity: NDArray[np.float32]) -> dict[str, float]:
    """Share of rows whose own column is among the nearest 1, 5 and 10."""
    ranks = (similarity > np.diag(similarity)[:, None]).sum(axis=1)
    return {f"R@{k}": round(float((ranks < k).mean()), 4) for k in (1, 5, 10)}


def swapped_auc(similarity: NDArray[np.float32], chosen: Sequence[Picture]) -> float:
    """AUC of right captions against random captions of other bases."""
    random, bases = np.random.default_rng(0), np.array([picture.base for picture in chosen])
    column = random.integers(len(chosen), size=(len(chosen), OTHERS))
    wrong = np.take_along_axis(similarity, column, axis=1)[bases[column] != bases[:, None]]
    return round(auc(np.diag(similarity), wrong), 4)


def near_duplicate_figures(
    model: open_clip.CLIP, preprocess: Preprocess, chosen: Sequence[Picture], image: NDArray[np.float32]
) -> dict[str, float]:
    """Cosine of pictures to their near duplicates, and to the nearest other picture."""
    copies = [image_embeddings(model, preprocess, chosen, encode) for encode in NEAR_DUPLICATES]
    own = np.concatenate([(image * copy).sum(axis=1) for copy in copies])
    nearest = (image @ image.T - 2 * np.eye(len(image), dtype=np.float32)).max(axis=1)
    return {
        "own_median": round(float(np.median(own)), 4),
        "own_5th_percentile": round(float(np.percentile(own, 5)), 4),
        "nearest_other_median": round(float(np.median(nearest)), 4),
    }


def parted(most: int | None = None) -> tuple[list[Picture], list[Picture]]:
    """Return the pictures to train on and the held-out ones; at most some of each, for a trial."""
    seen = [picture for picture in pictures() if not picture.held_out]
    unseen = [picture for picture in pictures() if picture.held_out]
    return seen[:most], unseen[:most]


def figures(weights: Path, most: int | None = None) -> dict[str, Any]:
    """Measure the weights of a file, on all pictures or some of them."""
    model, preprocess = build(weights)
    model.eval()
    seen, unseen = parted(most)
    plain = [index for index, picture in enumerate(unseen) if not is_toned(picture)]
    plain_pictures = [unseen[index] for index in plain]
    image, text = image_embeddings(model, preprocess, unseen), text_embeddings(model, unseen)
    similarity = image @ text.T
    subset = similarity[np.ix_(plain, plain)]
    trained = image_embeddings(model, preprocess, seen) @ text_embeddings(model, seen).T
    return {
        "training_pictures": len(seen),
        "held_out_pictures": len(unseen),
        "held_out_without_skin_tone": len(plain),
        "chance_R@1": round(1 / len(plain), 4),
        "held_out_image_to_text": recalls(subset),
        "held_out_text_to_image": recalls(subset.T),
        "held_out_swapped_caption_auc": swapped_auc(similarity, unseen),
        "held_out_without_skin_tone_swapped_caption_auc": swapped_auc(subset, plain_pictures),
        "training_swapped_caption_auc": swapped_auc(trained, seen),
        "held_out_near_duplicate_cosine": near_duplicate_figures(model, preprocess, plain_pictures, image[plain]),
        "weights_bytes": weights.stat().st_size,
    }
