"""The CLIP model, loaded by open_clip: a name and a tag, a checkpoint, or a model of one's own."""

import contextlib
import logging
import pickle
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import open_clip
import torch
from PIL import Image

from filtering.config import Embedding
from filtering.embedding.checkpoint import ModelFiles, model_files
from filtering.errors import InputError

PRECISIONS = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
# One thread each: the order of floating-point sums, and so the vectors, must not depend on the machine's load.
THREADS = 1


class ClipModel:
    """Both towers of a CLIP model with its own preprocessing and tokenizer.

    Parameters
    ----------
    settings : Embedding
        The `embedding` section of the configuration.
    """

    def __init__(self, settings: Embedding) -> None:
        torch.set_num_threads(THREADS)
        files = model_files(settings)
        self.device = _device(settings.device)
        self.precision = _precision(settings.precision, self.device)
        self.model, self.preprocess, self.tokenizer = _loaded(files, self.device)
        self.model.eval()

    def prepared(self, image: Image.Image) -> torch.Tensor:
        """Return a decoded image as the model takes it, by open_clip's own preprocessing."""
        pixels: torch.Tensor = self.preprocess(image)
        return pixels

    def images(self, prepared: Sequence[torch.Tensor]) -> npt.NDArray[np.float32]:
        """Return the unit-norm embeddings of prepared images, float32 (n, d)."""
        return self._unit(self.model.encode_image, torch.stack(list(prepared)))

    def texts(self, captions: Sequence[str]) -> npt.NDArray[np.float32]:
        """Return the unit-norm embeddings of captions, float32 (n, d)."""
        return self._unit(self.model.encode_text, self.tokenizer(list(captions)))

    def parameter_bytes(self) -> int:
        """Return the size of the weights in memory, in bytes."""
        return sum(weight.numel() * weight.element_size() for weight in self.model.parameters())

    def _unit(self, encode: Any, batch: torch.Tensor) -> npt.NDArray[np.float32]:
        mixed = self.precision is not torch.float32
        casting = torch.autocast(self.device, self.precision) if mixed else contextlib.nullcontext()
        with torch.inference_mode(), casting:
            vectors = encode(batch.to(self.device)).float()
            unit: npt.NDArray[np.float32] = torch.nn.functional.normalize(vectors, dim=-1).cpu().numpy()
        return unit


def _loaded(files: ModelFiles, device: str) -> tuple[Any, Any, Any]:
    logging.getLogger().setLevel(logging.WARNING)
    if files.config:
        open_clip.add_model_config(files.config)
    try:
        model, _, preprocess = open_clip.create_model_and_transforms(
            files.name, pretrained=files.pretrained, device=device
        )
    except (RuntimeError, OSError, ValueError, KeyError, AssertionError, pickle.UnpicklingError) as error:
        cause = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(f"embedding.pretrained: {files.pretrained} does not load as {files.name} ({cause})") from error
    return model, preprocess, open_clip.get_tokenizer(files.name)


def _device(device: str) -> str:
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return device


def _precision(precision: str, device: str) -> torch.dtype:
    if precision == "auto":
        return torch.float16 if device == "cuda" else torch.float32
    return PRECISIONS[precision]
