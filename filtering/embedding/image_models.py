"""Load encoders of images alone: models of timm with weights of a file or of timm's own, and TorchScript files."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import open_clip
import timm
import torch
from PIL import Image
from torchvision.transforms import Compose

from filtering.config.preprocessing import Preprocessing
from filtering.config.validation import nearest
from filtering.core.errors import InputError
from filtering.embedding.image_files import TIMM
from filtering.embedding.normalised import Normalised

# What open_clip calls timm's ways to crop.
CROPS = {"shortest": "center", "longest": "border", "squash": "squash"}


@dataclass(frozen=True, slots=True)
class ImageModel:
    """An encoder of images: float (n, 3, height, width) in, numbers (n, d) out; and the preprocessing before it."""

    module: torch.nn.Module
    preprocess: Any
    size: tuple[int, int]

    def encode_image(self, images: torch.Tensor) -> torch.Tensor:
        """Return the vectors of images."""
        vectors: torch.Tensor = self.module(images)
        return vectors

    def parameters(self) -> Any:
        """Return the weights."""
        return self.module.parameters()

    def eval(self) -> None:
        """Turn off what is for training."""
        self.module.eval()


def timm_model(name: str, path: str, given: Preprocessing) -> ImageModel:
    """Return a model of timm without its classifier; InputError if there is none of that name.

    `path` is the file of its weights, empty for those that timm publishes.
    """
    known = name.removeprefix(TIMM)
    if not timm.is_model(known):
        raise InputError(f"embedding.model: timm knows no {known}{nearest(known, timm.list_models())}")
    options: dict[str, Any] = {"pretrained_cfg_overlay": _of_file(known, path)} if path else {}
    if given.image_size is not None:
        options["img_size"] = given.image_size
    module = timm.create_model(known, pretrained=True, num_classes=0, **options)
    config = timm.data.resolve_data_config(_named(given), pretrained_cfg=module.pretrained_cfg)
    transform = timm.data.create_transform(**config, is_training=False)
    _, height, width = config["input_size"]
    return ImageModel(module, Compose([_rgb, *transform.transforms]), (height, width))


def _of_file(name: str, path: str) -> dict[str, Any]:
    """Return what timm is told of weights in a file: those of a classifier are left out, all others must fit."""
    weights = timm.models.load_state_dict(path)
    head = timm.get_pretrained_cfg(name).classifier or ()
    for layer in (head,) if isinstance(head, str) else head:
        for part in ("weight", "bias"):
            weights.pop(f"{layer}.{part}", None)
    # Of as many classes as the model has, timm compares every name and shape.
    return {"state_dict": weights, "num_classes": 0}


def torchscript_model(path: str, known: Normalised) -> ImageModel:
    """Return the encoder of a TorchScript file, whose code is run; InputError if it gives no vectors of images."""
    module = torch.jit.load(path, map_location="cpu")  # type: ignore[no-untyped-call]
    size = known.image_size
    assert size is not None, "a TorchScript file comes with its image_size"
    with torch.inference_mode():
        found = module(torch.zeros(2, 3, size, size))
    if not (isinstance(found, torch.Tensor) and found.ndim == 2 and len(found) == 2):
        shape = f"shape {tuple(found.shape)}" if isinstance(found, torch.Tensor) else type(found).__name__
        raise InputError(f"embedding.model: {path} gives {shape} for 2 images; it must give numbers (2, dimension)")
    preprocess = open_clip.image_transform(
        size,
        is_train=False,
        mean=known.mean,
        std=known.std,
        resize_mode=known.resize_mode,
        interpolation=known.interpolation,
        fill_color=known.fill_color,
    )
    return ImageModel(module, preprocess, (size, size))


def _named(given: Preprocessing) -> Mapping[str, Any]:
    """Return the keys of the configuration as timm calls them; those that are not given are the model's."""
    found: dict[str, Any] = {key: getattr(given, key) for key in ("mean", "std", "interpolation")}
    found["crop_mode"] = CROPS.get(given.resize_mode or "")
    found["img_size"] = given.image_size
    return {key: value for key, value in found.items() if value is not None}


def _rgb(image: Image.Image) -> Image.Image:
    # First: Pillow resizes the indices of a palette, not its colours.
    return image.convert("RGB")
