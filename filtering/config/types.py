"""Building blocks of the configuration: bounded numbers and the base class of sections."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

# Counts are kept and multiplied as 64-bit numbers; nothing has as many as this.
MOST = 10**15
Positive = Annotated[int, Field(ge=1, le=MOST, strict=True)]
Whole = Annotated[int, Field(ge=0, le=MOST, strict=True)]
Retries = Annotated[int, Field(ge=0, le=10, strict=True)]
Gamma = Annotated[float, Field(ge=0, allow_inf_nan=False, strict=True)]
Fraction = Annotated[float, Field(gt=0, le=1, strict=True)]
Cosine = Annotated[float, Field(ge=-1, le=1, strict=True)]
Share = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]
NoneOrShare = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Number = Annotated[float, Field(allow_inf_nan=False)]
Above0 = Annotated[float, Field(gt=0, allow_inf_nan=False, strict=True)]
# The context in which sections become plain data that people read; digests are of the data without it.
FOR_PEOPLE = {"for": "people"}
# What is computed of a picture while it is decoded; its columns are in `filtering.core.schemas.SIGNALS`.
Signal = Literal["phash", "pixel_hash", "blur", "luminance", "entropy", "text_share", "masked_clip_score"]
Seed = Annotated[int, Field(ge=0, lt=2**32, strict=True)]


def without_empty(found: dict[str, Any], *names: str) -> dict[str, Any]:
    """Return a section as plain data without some keys that hold nothing: older versions had no such keys."""
    return {name: value for name, value in found.items() if value or name not in names}


class Section(BaseModel):
    """A part of the configuration: frozen, no unknown keys. A field's description completes `it must be`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def known_keys(cls) -> tuple[str, ...]:
        """Return the keys that the section may hold."""
        return tuple(cls.model_fields)

    @classmethod
    def why_refused(cls, key: str, given: Mapping[str, Any]) -> str:
        """Return why a key is refused among the others that are given; empty if it is unknown."""
        return ""
