"""A head over image embeddings, which a filter or a score reads."""

from typing import Literal

from pydantic import Field

from filtering.config.types import Section


class Head(Section):
    """A linear layer, or several, over image embeddings of length 1."""

    weights: str = Field(
        min_length=1, description="the path or URL of a .npz or .safetensors with weight and bias, or those of layers"
    )
    activation: Literal["none", "relu"] = Field("none", description="none or relu, between layers")
    output: Literal["none", "sigmoid"] = Field("none", description="none or sigmoid, of the last layer")
