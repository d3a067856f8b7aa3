import io
import json
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image

import filtering.embedding
from filtering.demo.openmoji import TONES, pictures, rasterise
from filtering.demo.pool import NEAR_DUPLICATES, encode_jpeg

FOLDER = Path(next(iter(filtering.embedding.__path__))) / "demo_clip"
NAME = "filtering-demo"
HELD_OUT = [picture for picture in pictures() if picture.held_out and TONES.isdisjoint(picture.hexcode.split("-")[1:])]


@pytest.fixture(scope="module")
def clip():
    open_clip.add_model_config(FOLDER / f"{NAME}.json")
    weights = str(FOLDER / "weights.safetensors")
    model, _, preprocess = open_clip.create_model_and_transforms(NAME, pretrained=weights)
    return model.eval(), preprocess, open_clip.get_tokenizer(NAME)


@torch.no_grad()
def embed_images(clip, encode) -> np.ndarray:
    model, preprocess, _ = clip
    files = [encode(rasterise(picture.hexcode)) for picture in HELD_OUT]
    batch = torch.stack([preprocess(Image.open(io.BytesIO(file))) for file in files])
    return model.encode_image(batch, normalize=True).numpy()


@pytest.fixture(scope="module")
def images(clip):
    return embed_images(clip, encode_jpeg)


@pytest.fixture(scope="module")
def similarity(clip, images):
    model, _, tokenizer = clip
    with torch.no_grad():
        texts = model.encode_text(tokenizer([picture.caption for picture in HELD_OUT]), normalize=True)
    return images @ texts.numpy().T


@pytest.fixture(scope="module")
def card():
    return json.loads((FOLDER / "card.json").read_text())


def test_the_weights_fit_in_ten_megabytes():
    assert (FOLDER / "weights.safetensors").stat().st_size <= 10_000_000


@pytest.mark.slow
def test_embeddings_have_the_configured_width(images):
    configured = json.loads((FOLDER / f"{NAME}.json").read_text())["embed_dim"]
    assert images.shape == (len(HELD_OUT), configured)
    assert np.isfinite(images).all()


def test_captions_longer_than_the_context_are_accepted(clip):
    model, _, tokenizer = clip
    with torch.no_grad():
        assert model.encode_text(tokenizer(["a very long caption " * 50])).isfinite().all()


def test_right_captions_beat_swapped_ones_on_pictures_never_trained_on(similarity):
    right, wrong = np.diag(similarity), similarity[~np.eye(len(similarity), dtype=bool)]
    auc = (right[:, None] > wrong).mean()
    assert auc > 0.75


def test_retrieval_on_pictures_never_trained_on_beats_chance_many_times(similarity):
    rank = (similarity > np.diag(similarity)[:, None]).sum(axis=1)
    assert (rank < 10).mean() > 5 * 10 / len(similarity)


@pytest.mark.slow
def test_near_duplicates_are_nearer_than_other_pictures(clip, images):
    nearest = (images @ images.T - 2 * np.eye(len(images))).max(axis=1)
    for encode in NEAR_DUPLICATES:
        own = (images * embed_images(clip, encode)).sum(axis=1)
        assert np.median(own) > 0.97
        assert (own > nearest).mean() > 0.9


def test_the_card_tells_how_many_pictures_there_were(card):
    held_out = sum(picture.held_out for picture in pictures())
    assert card["held_out_pictures"] == held_out
    assert card["training_pictures"] == len(pictures()) - held_out
    assert card["held_out_without_skin_tone"] == len(HELD_OUT)


def test_the_card_repeats_what_the_weights_do(card, similarity):
    rank = (similarity > np.diag(similarity)[:, None]).sum(axis=1)
    for k in (1, 5, 10):
        assert card["held_out_image_to_text"][f"R@{k}"] == pytest.approx((rank < k).mean(), abs=0.015)
