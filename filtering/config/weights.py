"""The `weights` section of the configuration: how often kept samples are seen in an epoch."""

from typing import Annotated

from pydantic import Field

from filtering.config.types import Section, Seed

Epoch = Annotated[float, Field(ge=1, le=1000, allow_inf_nan=False, strict=True)]
# Beyond these the random part of a draw is lost in rounding, and draws tie.
Penalty = Annotated[float, Field(ge=0.001, le=1000, allow_inf_nan=False, strict=True)]
Temperature = Annotated[float, Field(ge=0.001, le=1000, allow_inf_nan=False, strict=True)]
Times = Annotated[int, Field(ge=2, le=64, strict=True)]


class Weights(Section):
    """Repeats of kept samples: soft cap sampling (arXiv 2503.08805) among them. Left out, each is seen once."""

    epoch: Epoch = Field(
        2.0,
        description="the number of samples of an epoch, in kept samples: how often one is seen on average, 1 to 1000",
    )
    penalty: Penalty = Field(
        0.5,
        description="what each time that a sample is drawn takes off its score in standard deviations, 0.001 to 1000",
    )
    temperature: Temperature = Field(
        1.0,
        description="of the softmax of scores in standard deviations: low draws by score, high at random; 0.001 to "
        "1000",
    )
    most: Times = Field(16, description="how often a sample may be seen in an epoch, a whole number from 2 to 64")
    seed: Seed = Field(0, description="a whole number, 0 or more")
