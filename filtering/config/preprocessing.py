"""The `embedding.preprocessing` section of the configuration: how images are resized and normalised for the model."""

from typing import Annotated, Literal

from pydantic import Field

from filtering.config.types import Number, Positive, Section

Deviation = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Preprocessing(Section):
    """What differs from the preprocessing of the tag, of the model's file or, without both, of open_clip."""

    mean: tuple[Number, Number, Number] | None = Field(
        None, description="a list of three numbers, the mean of red, green and blue between 0 and 1"
    )
    std: tuple[Deviation, Deviation, Deviation] | None = Field(
        None, description="a list of three positive numbers, the standard deviation of red, green and blue"
    )
    resize_mode: Literal["shortest", "longest", "squash"] | None = Field(
        None,
        description="shortest (to the shorter side, then cropped), longest (to the longer side, then padded) or squash",
    )
    interpolation: Literal["bicubic", "bilinear"] | None = Field(None, description="bicubic or bilinear")
    image_size: Positive | None = Field(None, description="a positive whole number of pixels")
