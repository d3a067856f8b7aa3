"""The `filters` section of the configuration: steps before selection."""

from typing import Annotated, Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from filtering.config.head import Head
from filtering.config.types import Cosine, Fraction, NoneOrShare, Number, Positive, Section, Signal, Whole
from filtering.core.fields import FACES

Aspect = Annotated[float, Field(ge=1, allow_inf_nan=False, strict=True)]


# By how many of its 64 bits a perceptual hash may differ: half of the bits are set, so they differ in pairs.
DISTANCE, MOST_DISTANCE = 2, 4
HashDistance = Annotated[int, Field(ge=0, le=MOST_DISTANCE, strict=True)]


class CaptionFilter(Section):
    """Drops samples whose caption is too short or too long."""

    min_words: Whole = Field(0, description="a whole number, 0 or more")
    min_characters: Whole = Field(0, description="a whole number, 0 or more")
    max_characters: Positive | None = Field(None, description="a positive whole number")


class ImageFilter(Section):
    """Drops samples whose image is small or narrow; images of unknown size pass."""

    min_side: Whole = Field(
        0, description="a whole number of pixels, the minimum length of the shorter side, 0 or more"
    )
    max_aspect: Aspect | None = Field(
        None, description="the maximum ratio of the longer side to the shorter side, 1 or more"
    )


class LanguageFilter(Section):
    """Keeps samples whose caption is in one of the given languages."""

    keep: tuple[str, ...] = Field(min_length=1, description='a list of language codes, such as [en] (quote "no")')
    least: NoneOrShare = Field(0.0, description="the minimum probability of the language, from 0 to 1")


class WordsFilter(Section):
    """Keeps samples whose caption contains a word or a phrase of a list."""

    list: str = Field(
        "imagenet",
        description="imagenet (the class names of open_clip), or the path or URL of a text file, one entry per line, "
        "or of a JSON list",
    )


EXCLUDED = ("uids", "urls", "hashes", "vectors")


class ExcludeFilter(Section):
    """Drops the samples that a list names, or whose image is near one of some vectors."""

    uids: str | None = Field(None, min_length=1, description="the path or URL of a list of uids")
    urls: str | None = Field(None, min_length=1, description="the path or URL of a list of images' URLs")
    hashes: str | None = Field(None, min_length=1, description="the path or URL of a list of images' sha256, in hex")
    vectors: str | None = Field(
        None, min_length=1, description="FILE.npy, FILE.npz#NAME or FILE.parquet#COLUMN of image vectors"
    )
    threshold: Cosine | None = Field(None, description="of vectors, the least cosine that excludes, from -1 to 1")

    @model_validator(mode="after")
    def _one_list(self) -> "ExcludeFilter":
        if sum(getattr(self, name) is not None for name in EXCLUDED) != 1:
            raise ValueError("give one of uids, urls, hashes and vectors; another list is another entry")
        if (self.vectors is None) != (self.threshold is None):
            raise ValueError("vectors and threshold go together, such as {vectors: imagenet.npy, threshold: 0.95}")
        return self

    @property
    def what(self) -> str:
        """What the list is of: uids, urls, hashes or vectors."""
        return next(name for name in EXCLUDED if getattr(self, name) is not None)

    @property
    def source(self) -> str:
        """The path or URL of the list."""
        source: str = getattr(self, self.what)
        return source


class ClipScoreFilter(Section):
    """Keeps the samples with the highest CLIP scores: a fraction of those that reach it, or those above a threshold."""

    keep: Fraction | None = Field(None, description="a fraction above 0 and at most 1")
    threshold: Cosine | None = Field(None, description="a cosine between -1 and 1")
    of: str | None = Field(
        None,
        min_length=1,
        description="one of embedding.encoders, or masked; without it, the model itself",
    )

    @model_validator(mode="after")
    def _one_rule(self) -> "ClipScoreFilter":
        if (self.keep is None) == (self.threshold is None):
            raise ValueError("give either keep (a fraction) or threshold (a cosine)")
        return self


class BlurFilter(Section):
    """Drops blurred pictures, by CleanVision's score."""

    min: NoneOrShare = Field(0.29, description="the least score, from 0 (blurred) to 1; the default is CleanVision's")


class LuminanceFilter(Section):
    """Drops pictures that are dark all over, or bright all over, by CleanVision's scores."""

    dark: NoneOrShare = Field(
        0.32, description="the least brightness of the brightest pixels (99th percentile), from 0 to 1"
    )
    light: NoneOrShare = Field(
        0.05, description="the least of 1 less the brightness of the darkest pixels (5th percentile), from 0 to 1"
    )


class EntropyFilter(Section):
    """Drops pictures that hold little information, such as one colour, by CleanVision's score."""

    min: NoneOrShare = Field(0.3, description="the least entropy, in tens of bits, from 0 to 1")


class TextShareFilter(Section):
    """Drops pictures of which text takes a large share, by the detector of PP-OCR."""

    max: NoneOrShare = Field(description="the greatest share of the picture, from 0 to 1")


class HashDuplicatesFilter(Section):
    """Drops samples whose picture has nearly the hash of an earlier one's among those that pass the filters before."""

    by: Literal["phash", "pixel_hash"] = Field(
        "phash", description="phash (similar pictures) or pixel_hash (pictures of the same pixels)"
    )
    distance: HashDistance | None = Field(
        None, description=f"of phash, the most bits that differ, 0 to {MOST_DISTANCE}; the default is 2"
    )

    @model_validator(mode="after")
    def _distance_of_phash(self) -> "HashDuplicatesFilter":
        if self.by != "phash" and self.distance is not None:
            raise ValueError("distance is that of phash; hashes of pixels are equal, or tell nothing")
        return self

    @property
    def bits(self) -> int:
        """The most bits by which two hashes of a group differ."""
        usual = DISTANCE if self.by == "phash" else 0
        return usual if self.distance is None else self.distance


class ColumnFilter(Section):
    """Keeps samples of which a number that the pool has is within bounds."""

    name: str = Field(min_length=1, description="the name of a field, one of input.fields")
    min: Number | None = Field(None, description="the least value")
    max: Number | None = Field(None, description="the greatest value")
    missing: Literal["keep", "drop"] = Field(
        "keep", description="keep or drop: what becomes of samples without the number"
    )

    @model_validator(mode="after")
    def _has_bounds(self) -> "ColumnFilter":
        if self.min is None and self.max is None:
            raise ValueError("give min or max or both, such as {name: punsafe, max: 0.5}")
        return self


class FacesFilter(Section):
    """Drops pictures with more faces than allowed, by the pool's face_bboxes; pictures without these pass."""

    max: Whole | None = Field(None, description="the greatest number of faces")
    max_share: NoneOrShare | None = Field(
        None, description="the greatest share of the picture that faces cover, the sum of their boxes, from 0 to 1"
    )

    @model_validator(mode="after")
    def _has_bounds(self) -> "FacesFilter":
        if self.max is None and self.max_share is None:
            raise ValueError("give max or max_share or both, such as {max: 0}")
        return self


class HeadFilter(Head):
    """Keeps samples whose image embedding a head gives a value within bounds, such as a probability of NSFW."""

    min: Number | None = Field(None, description="the least value")
    max: Number | None = Field(None, description="the greatest value")

    @model_validator(mode="after")
    def _has_bounds(self) -> "HeadFilter":
        if self.min is None and self.max is None:
            raise ValueError("give min or max or both, such as {weights: nsfw.npz, output: sigmoid, max: 0.5}")
        return self


# Filters that read the signal of their own name.
SIGNALS_READ: tuple[Signal, ...] = ("blur", "luminance", "entropy", "text_share")
# Filters that older versions had not: they are in digests only where they are given.
ADDED = ("blur", "luminance", "entropy", "hash_duplicates", "column", "faces", "head", "text_share")


class Filter(Section):
    """One step before selection: exactly one of its keys is given."""

    caption: CaptionFilter | None = Field(None, description="a mapping such as {min_words: 3}")
    image: ImageFilter | None = Field(None, description="a mapping such as {min_side: 200, max_aspect: 3}")
    language: LanguageFilter | None = Field(None, description="a mapping such as {keep: [en]}")
    words: WordsFilter | None = Field(None, description="a mapping such as {list: imagenet}")
    clip_score: ClipScoreFilter | None = Field(None, description="a mapping such as {keep: 0.5}")
    exclude: ExcludeFilter | None = Field(None, description="a mapping such as {uids: takedown.txt}")
    blur: BlurFilter | None = Field(None, description="a mapping such as {min: 0.29}")
    luminance: LuminanceFilter | None = Field(None, description="a mapping such as {dark: 0.32, light: 0.05}")
    entropy: EntropyFilter | None = Field(None, description="a mapping such as {min: 0.3}")
    hash_duplicates: HashDuplicatesFilter | None = Field(None, description="a mapping such as {distance: 2}")

    column: ColumnFilter | None = Field(None, description="a mapping such as {name: punsafe, max: 0.5}")
    faces: FacesFilter | None = Field(None, description="a mapping such as {max: 0}")
    text_share: TextShareFilter | None = Field(None, description="a mapping such as {max: 0.2}")
    head: HeadFilter | None = Field(None, description="a mapping such as {weights: aesthetic.npz, min: 5}")

    @model_validator(mode="after")
    def _one_kind(self) -> "Filter":
        if len(self._given()) != 1:
            raise ValueError("each entry names one filter, such as {clip_score: {keep: 0.5}}")
        return self

    @model_serializer(mode="wrap")
    def _plain(self, nested: SerializerFunctionWrapHandler) -> dict[str, Any]:
        found: dict[str, Any] = nested(self)
        return {name: value for name, value in found.items() if value is not None or name not in ADDED}

    @property
    def signal(self) -> Signal | None:
        """The signal of pictures that the filter reads, None if it reads none."""
        if self.hash_duplicates is not None:
            return self.hash_duplicates.by
        return next((name for name in SIGNALS_READ if getattr(self, name) is not None), None)

    @property
    def field(self) -> str | None:
        """The field of the pool (`input.fields`) that the filter reads, None if it reads none."""
        if self.column is not None:
            return self.column.name
        return None if self.faces is None else FACES

    @property
    def kind(self) -> str:
        """Name of the filter, as in `filter:caption`, the reason of the samples that it drops."""
        return self._given()[0]

    def _given(self) -> list[str]:
        return [name for name in type(self).model_fields if getattr(self, name) is not None]
