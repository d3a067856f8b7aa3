"""Scores in the configuration: a scorer's name, a scorer with parameters, or a column of a table."""

import difflib
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    Discriminator,
    Field,
    SerializationInfo,
    SerializerFunctionWrapHandler,
    Tag,
    TypeAdapter,
    ValidationError,
    model_serializer,
    model_validator,
)

from filtering.config.head import Head
from filtering.config.types import FOR_PEOPLE, Above0, Number, Positive, Section, Seed, Whole
from filtering.config.validation import nearest

# Scorers that a name stands for; `scores.registry` has what they are.
NAMES = (
    *("auto", "aum", "blur", "centred_score", "clip_powered", "clip_score", "column", "combine", "dlc", "el2n"),
    *("entropy", "forgetting", "head", "image_based", "luminance", "metaclip", "neg_clip_loss", "neighbour_agreement"),
    *("norm_sim", "prototypicality", "right", "sas", "sds", "text_share", "uniform"),
)
# Scorers whose values the user has measured.
MEASURED = frozenset({"table", "aum", "column", "el2n", "forgetting"})
# Scorers that older versions had not: they are in digests only where they are given.
ADDED = ("clip_score", "column", "head")
TABLE = "a path or URL of a parquet table with a uid column"
NONE = "none"
NOT = ("no", "off", "false")


Neighbours = Literal["images", "captions"]


class ScoreTable(Section):
    """A score of the user's: a column of a parquet table, joined by uid."""

    table: str = Field(description=TABLE)
    column: str = Field(description="the name of a numeric column")
    keep: Literal["higher", "lower"] = Field("higher", description="higher or lower: the values to keep")


class ColumnScore(Section):
    """A number that the pool has for each sample."""

    name: str = Field(min_length=1, description="the name of a field, one of input.fields")
    keep: Literal["higher", "lower"] = Field("higher", description="higher or lower: the values to keep")
    missing: Number | None = Field(
        None, description="the value of samples that have none; without it such samples are refused"
    )


class HeadScore(Head):
    """What a head makes of image embeddings, such as an aesthetic score."""

    keep: Literal["higher", "lower"] = Field("higher", description="higher or lower: the values to keep")


class Dynamics(Section):
    """A score from training dynamics, in a table; its name implies whether high or low values are kept."""

    table: str = Field(description=TABLE)
    column: str | None = Field(None, description="the name of a numeric column; the default is the scorer's name")


class Targets(Section):
    """Vectors or images with which image embeddings are compared."""

    targets: str = Field(
        description="a path or URL: .npy of vectors, .npz#NAME, parquet#COLUMN, or a directory of images"
    )


class NegClipLoss(Section):
    """Random batches in which a pair is compared with others (arXiv 2405.19547)."""

    batch_size: Positive = Field(32_768, description="a positive whole number of pairs")
    batchings: Whole = Field(
        5,
        description="the number of times the pool is split into random batches; 0 is their closed form, centred_score",
    )
    temperature: Above0 = Field(0.01, description="a positive number")
    seed: Seed = Field(0, description="a whole number, 0 or more")


class ClipScore(Section):
    """The model by whose vectors the cosine is taken."""

    of: str | None = Field(
        None,
        min_length=1,
        description="one of embedding.encoders, or masked; without it, the model itself",
    )


class CentredScore(Section):
    """The form in which a pair's cosine is freed of what image and caption reach on average."""

    form: Literal["difference", "cosine"] = Field(
        "difference",
        description="difference (the cosine less its mean over mismatched pairs) or cosine (of vectors less the mean)",
    )


class NeighbourAgreement(Section):
    """Whose neighbours agree with a pair: those of its image, or those of its caption."""

    of: Neighbours = Field("images", description="images or captions: whose graph has the neighbours")


class Right(Section):
    """P(right): which graphs its features come from."""

    neighbours: Literal["both", "images"] = Field(
        "both", description="both or images: whether the graph of captions is built and read, too"
    )


class MetaClip(Section):
    """Balancing against a list of entries (arXiv 2309.16671)."""

    entries: str = Field(
        "imagenet",
        description="imagenet (the class names of open_clip), or the path or URL of a text file, one entry per line, "
        "or of a JSON list",
    )
    seed: Seed = Field(0, description="a whole number, 0 or more")


class Dlc(Section):
    """Learning complexity by masked towers (arXiv 2402.05356)."""

    masks: Positive = Field(50, description="the number of masked models, 1 or more")
    schedule: Literal["geometric", "linear", "random"] = Field("geometric", description="geometric, linear or random")
    seed: Seed = Field(0, description="a whole number, 0 or more; for schedule random")


class Combine(Section):
    """A weighted sum of scores on a common scale."""

    of: tuple["Weighted", ...] = Field(
        min_length=1, description="a list such as [{score: clip_score, weight: 1}, {score: sds, weight: 0.1}]"
    )
    by: Literal["rank", "zscore", "minmax", "mean"] = Field("rank", description="rank, zscore, minmax or mean")


class ScoreOf(Section):
    """A scorer with parameters: exactly one of its keys is given."""

    norm_sim: Targets | None = Field(None, description="a mapping such as {targets: URL}")
    image_based: Targets | None = Field(None, description="a mapping such as {targets: URL}")
    clip_score: ClipScore | None = Field(None, description="a mapping such as {of: dfn}")
    neg_clip_loss: NegClipLoss | None = Field(None, description="a mapping such as {batchings: 5}")
    centred_score: CentredScore | None = Field(None, description="a mapping such as {form: cosine}")
    neighbour_agreement: NeighbourAgreement | None = Field(None, description="a mapping such as {of: captions}")
    right: Right | None = Field(None, description="a mapping such as {neighbours: images}")
    metaclip: MetaClip | None = Field(None, description="a mapping such as {entries: URL}")
    dlc: Dlc | None = Field(None, description="a mapping such as {masks: 50}")
    el2n: Dynamics | None = Field(None, description="a mapping such as {table: URL}")
    forgetting: Dynamics | None = Field(None, description="a mapping such as {table: URL}")
    aum: Dynamics | None = Field(None, description="a mapping such as {table: URL}")
    column: ColumnScore | None = Field(None, description="a mapping such as {name: pwatermark, keep: lower}")
    head: HeadScore | None = Field(None, description="a mapping such as {weights: aesthetic.npz}")
    combine: Combine | None = Field(None, description="a mapping such as {of: [{score: clip_score, weight: 1}]}")

    @classmethod
    def why_refused(cls, key: str, given: Mapping[str, Any]) -> str:
        """Return how a scorer without parameters is written; empty if there is none of that name."""
        return f"it has no parameters; write the name alone, score: {key}" if key in NAMES else ""

    @model_validator(mode="after")
    def _one_scorer(self) -> "ScoreOf":
        if len(self.given()) != 1:
            raise ValueError("a mapping names one scorer, such as {neg_clip_loss: {batchings: 5}}")
        return self

    @model_serializer(mode="wrap")
    def _plain(self, nested: SerializerFunctionWrapHandler, info: SerializationInfo) -> dict[str, object]:
        """Return every scorer, most of them None, as digests have always had it; for people the one that is named."""
        found: dict[str, object] = nested(self)
        if info.context == FOR_PEOPLE:
            return {name: found[name] for name in self.given()}
        return {name: value for name, value in found.items() if value is not None or name not in ADDED}

    def given(self) -> dict[str, Section]:
        """Return the scorer that is named and its parameters."""
        values = ((name, getattr(self, name)) for name in type(self).model_fields)
        return {name: value for name, value in values if value is not None}


def _form(value: Any) -> str:
    """Return the tag of the form in which a score is given, so that errors are about that form."""
    if isinstance(value, ScoreTable) or (isinstance(value, Mapping) and _names_a_table(value)):
        return "[table]"
    return "[scorer]" if isinstance(value, ScoreOf | Mapping) else "[name]"


def _names_a_table(value: Mapping[Any, Any]) -> bool:
    return "table" in value or ("column" in value and not isinstance(value["column"], Mapping | ColumnScore))


def _known(name: str) -> str:
    if name not in NAMES:
        raise ValueError(f"unknown scorer {name}{nearest(name, NAMES)}")
    return name


Score = Annotated[
    Annotated[str, AfterValidator(_known), Tag("[name]")]
    | Annotated[ScoreTable, Tag("[table]")]
    | Annotated[ScoreOf, Tag("[scorer]")],
    Discriminator(_form),
]


def _none_or_score(value: Any) -> str:
    # Of what is meant for none, that is the word to suggest, not a scorer.
    name = str(value).lower()
    meant = name in NOT or (isinstance(value, str) and difflib.get_close_matches(name, [NONE, *NAMES], n=1) == [NONE])
    return "[none]" if meant else "[score]"


NoneOrScore = Annotated[
    Annotated[Literal["none"], Tag("[none]")] | Annotated[Score, Tag("[score]")], Discriminator(_none_or_score)
]


class Weighted(Section):
    """A part of a combination."""

    score: Score = Field(description="a scorer's name, a scorer with parameters, or {table: URL, column: NAME}")
    weight: Number = Field(1.0, description="a finite number; a negative one reverses the score")


Combine.model_rebuild()
ScoreOf.model_rebuild()
_SCORE: TypeAdapter[Score] = TypeAdapter(Score)


def scorer_name(value: Any) -> str:
    """Return the name of the scorer of a score, as plain data or parsed: table for one; empty if it is not valid."""
    try:
        score = _SCORE.validate_python(value)
    except ValidationError:
        return ""
    if isinstance(score, ScoreOf):
        return next(iter(score.given()))
    return "table" if isinstance(score, ScoreTable) else score
