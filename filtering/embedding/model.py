"""The CLIP model, loaded by open_clip: a name and a tag, a checkpoint, or a model of one's own."""

import os
import shutil
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torchvision.transforms import Compose, Normalize

from filtering.config.embedding import Embedding
from filtering.core.errors import InputError
from filtering.embedding.checkpoint import model_files
from filtering.embedding.identity import as_begun
from filtering.embedding.images import Preparation, draft_side
from filtering.embedding.loading import PRECISIONS, loaded

# One thread each: the order of floating-point sums, and so the vectors, must not depend on the machine's load.
THREADS = 1


class ClipModel:
    """The towers of a CLIP model, or an encoder of images alone, with what prepares samples for them.

    Safe to call from several threads.

    `preparation` is the CPU's part of the preprocessing; the conversion to floats is done here, on the device.
    `warnings` are what open_clip and torch had to say of the model.
    """

    def __init__(self, settings: Embedding) -> None:
        torch.set_num_threads(THREADS)
        self.device = _device(settings.device)
        self.precision = _precision(settings.precision, self.device)
        precision = next(name for name, dtype in PRECISIONS.items() if dtype is self.precision)
        files = model_files(settings)
        found = as_begun(settings, files, lambda: loaded(files, self.device, precision))
        self.model, self.warnings, self.has_texts = found.model, found.warnings, found.tokenizer is not None
        self.model.eval()
        resize, normalize = _halves(found.preprocess)
        # By channel, to be broadcast over a batch of pictures.
        self.mean, self.std = (
            torch.as_tensor(values, dtype=torch.float32, device=self.device).view(1, -1, 1, 1)
            for values in (normalize.mean, normalize.std)
        )
        height, width = found.size
        side = draft_side(settings, width, height)
        self.preparation = Preparation(resize, found.tokenizer, width, height, settings.max_pixels, side)
        self.turn = threading.Lock()
        self.copies = torch.cuda.Stream() if self.device == "cuda" else None  # type: ignore[no-untyped-call]
        self._encode_image, self._encode_text = self._encoders(settings)

    def moved(self, pixels: npt.NDArray[np.uint8]) -> torch.Tensor:
        """Return images, uint8 (n, height, width, 3), on the device; a copy runs beside what it computes."""
        # Ray's arrays are read-only, which torch warns about; nothing writes to this one.
        images = torch.from_numpy(pixels if pixels.flags.writeable else pixels.copy())
        if self.copies is None:
            return images
        with torch.cuda.stream(self.copies):
            moved = images.pin_memory().to(self.device, non_blocking=True)
        torch.cuda.current_stream().wait_stream(self.copies)
        moved.record_stream(torch.cuda.current_stream())
        return moved

    def images(self, pixels: torch.Tensor) -> npt.NDArray[np.float32]:
        """Return the unit-norm embeddings of images as `moved` gives them, float32 (n, d)."""
        with self.turn, torch.inference_mode():
            # The same operations in the same order as torchvision's ToTensor and Normalize.
            scaled = pixels.permute(0, 3, 1, 2).float().div_(255).sub_(self.mean).div_(self.std)
            vectors = self._encode_image(scaled.to(self.precision))
        return _unit(vectors)

    def texts(self, tokens: npt.NDArray[np.int32]) -> npt.NDArray[np.float32]:
        """Return the unit-norm embeddings of token ids, (n, context length) to float32 (n, d)."""
        assert self._encode_text is not None, "an encoder of images alone takes no captions"
        with self.turn, torch.inference_mode():
            vectors = self._encode_text(torch.from_numpy(tokens).long().to(self.device))
        return _unit(vectors)

    def parameter_bytes(self) -> int:
        """Return the size of the weights in memory, in bytes."""
        return sum(weight.numel() * weight.element_size() for weight in self.model.parameters())

    def _encoders(self, settings: Embedding) -> tuple[Callable[..., Any], Callable[..., Any] | None]:
        image, text = self.model.encode_image, self.model.encode_text if self.has_texts else None
        if not settings.compile:
            return image, text
        compiler = os.environ.get("CXX", "g++")
        if not shutil.which(compiler):
            raise InputError(
                f"embedding.compile: needs a C++ compiler, but where the model is loaded there is no {compiler}; "
                "install it, name another in CXX, or leave embedding.compile false"
            )
        # Sizes are dynamic: a shard's last batch is smaller, and must not be compiled anew.
        return torch.compile(image, dynamic=True), None if text is None else torch.compile(text, dynamic=True)


def _unit(vectors: torch.Tensor) -> npt.NDArray[np.float32]:
    # Outside the lock: on a GPU the next batch is queued while this one is waited for.
    unit: npt.NDArray[np.float32] = torch.nn.functional.normalize(vectors.float(), dim=-1).cpu().numpy()
    return unit


def _halves(preprocess: Any) -> tuple[Compose, Normalize]:
    """Split open_clip's preprocessing: images in and out, on the CPU; floats, on the device."""
    *resize, _, normalize = preprocess.transforms
    if not isinstance(normalize, Normalize):
        raise InputError("embedding.model: its preprocessing does not end with a normalisation, as open_clip's does")
    return Compose(resize), normalize


def _device(device: str) -> str:
    available = torch.cuda.is_available()
    if device == "cuda" and not available:
        raise InputError("embedding.device: cuda, but torch sees no GPU where the model is loaded")
    return ("cuda" if available else "cpu") if device == "auto" else device


def _precision(precision: str, device: str) -> torch.dtype:
    if precision == "auto":
        return torch.float16 if device == "cuda" else torch.float32
    return PRECISIONS[precision]
