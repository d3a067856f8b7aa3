"""How images are preprocessed for a model: what is known of its weights, under the configuration's keys."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from filtering.config.preprocessing import Preprocessing
from filtering.embedding.known_models import default_normalisation


@dataclass(frozen=True, slots=True)
class Normalised:
    """How images become what a model takes, as open_clip names it; `image_size` None is the model's own."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str = "bicubic"
    resize_mode: str = "shortest"
    fill_color: int = 0
    image_size: int | None = None

    def __str__(self) -> str:
        """Return it in words."""
        size = "" if self.image_size is None else f", {self.image_size} pixels"
        return f"mean {list(self.mean)}, std {list(self.std)}, {self.resize_mode}, {self.interpolation}{size}"


def merged(known: Mapping[str, Any], keys: Preprocessing) -> Normalised:
    """Return open_clip's preprocessing under what is known of the weights, and that under the configuration's keys."""
    mean, std = default_normalisation()
    given = {**known, **{key: value for key, value in keys if value is not None}}
    return Normalised(
        mean=tuple(map(float, given.get("mean") or mean)),
        std=tuple(map(float, given.get("std") or std)),
        interpolation=given.get("interpolation") or "bicubic",
        resize_mode=given.get("resize_mode") or "shortest",
        fill_color=given.get("fill_color") or 0,
        image_size=given.get("image_size"),
    )
