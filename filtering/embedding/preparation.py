"""What turns a sample into what the towers take: small, without weights, sent to every decoder."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from filtering.config.run import Embedding
from filtering.core.errors import first_line
from filtering.embedding.images import Decoded, decode_image
from filtering.shards.tar import Fault

# A tower reads some tens of tokens: what a longer caption holds beyond this cannot reach it.
TOKENIZED_CHARACTERS = 8192


@dataclass(frozen=True, slots=True)
class Preparation:
    """The part of a model's preprocessing that runs on CPUs.

    Attributes
    ----------
    resize : open_clip's own transforms up to, and without, the conversion to a tensor: image in, RGB image out.
    tokenizer : the model's tokenizer.
    width, height : pixels of the image that the model takes.
    max_pixels : an image that declares more is not decoded.
    draft_side : see `decode_image`; 0 for exact decoding.
    """

    resize: Callable[[Any], Any]
    tokenizer: Callable[[list[str]], Any]
    width: int
    height: int
    max_pixels: int
    draft_side: int

    def image(self, data: bytes) -> tuple[npt.NDArray[np.uint8], Decoded] | Fault:
        """Return an encoded image as the model takes it, uint8 (height, width, 3), or why it cannot be."""
        decoded = decode_image(data, self.max_pixels, self.draft_side)
        if isinstance(decoded, Fault):
            return decoded
        try:
            pixels = np.asarray(self.resize(decoded.image))
        except Exception as error:
            # Resizing and conversion meet pixels of every mode: what they cannot take is the sample's fault.
            return Fault("image_undecodable", f"cannot be preprocessed: {first_line(error)}")
        return pixels, decoded

    def tokens(self, captions: Sequence[str]) -> npt.NDArray[np.int32]:
        """Return the token ids of captions, int32 (n, context length)."""
        ids = self.tokenizer([caption[:TOKENIZED_CHARACTERS] for caption in captions])
        return np.asarray(ids, dtype=np.int32)


def draft_side(settings: Embedding, width: int, height: int) -> int:
    """Return the side that draft decoding must leave room for, 0 for exact decoding."""
    return max(width, height) if settings.decoding == "draft" else 0
