"""The scorers by name, with their inputs and how they are computed. A higher score is more worth keeping."""

from dataclasses import dataclass, field, replace
from typing import Any, get_args

import numpy as np

from filtering.config.scores import (
    CentredScore,
    ClipScore,
    ColumnScore,
    Combine,
    Dlc,
    Dynamics,
    HeadScore,
    MetaClip,
    NegClipLoss,
    NeighbourAgreement,
    Neighbours,
    Right,
    Score,
    ScoreOf,
    ScoreTable,
    Targets,
    Weighted,
)
from filtering.config.types import Section
from filtering.core.errors import InputError, under
from filtering.core.fields import FIELD, score_column
from filtering.filters.phrases import IMAGENET
from filtering.scores.contexts import concept_context, near_targets_context, target_files, targets_context
from filtering.scores.distances import prototypicalities
from filtering.scores.head_scores import HEAD
from filtering.scores.norm_sim import norm_sims
from filtering.scores.row_scores import CLIP_SCORE, COLUMN_OF_POOL, SIGNAL_SCORERS, ones, stored_scores, table_scores
from filtering.scores.scorer import Kind, Scorer, Values
from filtering.shards.vectors import Side

AUTO = "auto"
# The key that asks for a score, unless another one is named.
KEY = "selection.score"


HERE = "docs/methods.md"
CLIP_POWERED = Combine(of=(Weighted(score="sas", weight=1.0), Weighted(score="sds", weight=0.1)), by="mean")
SCORERS: dict[str, Scorer] = {
    "clip_score": CLIP_SCORE,
    "neg_clip_loss": Scorer(
        Kind.BATCHES, "CLIP score less what the batch's other pairs reach", "pairs", "arXiv 2405.19547", NegClipLoss
    ),
    "centred_score": Scorer(
        Kind.CENTRED,
        "CLIP score less what image and caption reach with the pool's others on average",
        "pairs",
        HERE,
        CentredScore,
    ),
    "neighbour_agreement": Scorer(
        Kind.NEIGHBOURS,
        "how well the caption fits those of similar images, or the image those of similar captions",
        "pairs, graph",
        HERE,
        NeighbourAgreement,
        values=Values.COSINE,
    ),
    "right": Scorer(
        Kind.RIGHT,
        "probability that image and caption belong together, learned from shuffled pairs",
        "pairs, graph",
        HERE,
        Right,
        values=Values.SHARE,
    ),
    "norm_sim": Scorer(
        Kind.IMAGES,
        "largest cosine with target images",
        "images, targets",
        "arXiv 2405.19547",
        Targets,
        of_images=lambda images, homes, context: norm_sims(images, context["targets"]),
        context=targets_context,
        values=Values.COSINE,
    ),
    "image_based": Scorer(
        Kind.IMAGES,
        "1 where the concept is nearest to some target image, else 0",
        "images, concepts, targets",
        "arXiv 2304.14108",
        Targets,
        of_images=lambda images, homes, context: context["near"][homes].astype(np.float32),
        context=near_targets_context,
        by_concepts=True,
        values=Values.SHARE,
    ),
    "prototypicality": Scorer(
        Kind.IMAGES,
        "cosine distance to the concept's centroid",
        "images, concepts",
        "arXiv 2206.14486",
        of_images=lambda images, homes, context: prototypicalities(images, homes, context["centroids"]),
        context=concept_context,
        by_concepts=True,
        values=Values.DISTANCE,
    ),
    "sas": Scorer(
        Kind.ROWS,
        "semantic alignment: cosine of image and own caption",
        "pairs",
        "arXiv 2410.11215",
        of_rows=stored_scores,
        values=Values.COSINE,
    ),
    "sds": Scorer(
        Kind.GRAPH,
        "mean distance to the neighbours in the concept",
        "graph",
        "arXiv 2410.11215",
        values=Values.DISTANCE,
    ),
    "clip_powered": Scorer(
        Kind.PARTS, "sas over its mean, and a tenth of sds over its mean", "pairs, graph", "arXiv 2410.11215"
    ),
    "dlc": Scorer(
        Kind.TOWERS, "learning complexity of the image under masked towers", "tars, concepts", "arXiv 2402.05356", Dlc
    ),
    "metaclip": Scorer(
        Kind.CAPTIONS,
        "drawn so that entries many captions match are flattened",
        "captions",
        "arXiv 2309.16671",
        MetaClip,
    ),
    "el2n": Scorer(
        Kind.ROWS,
        "error norm early in training",
        "table",
        "arXiv 2107.07075",
        Dynamics,
        of_rows=table_scores,
        values=Values.OWN,
    ),
    "forgetting": Scorer(
        Kind.ROWS,
        "how often it was forgotten in training",
        "table",
        "arXiv 1812.05159",
        Dynamics,
        table_scores,
        values=Values.OWN,
    ),
    "aum": Scorer(
        Kind.ROWS,
        "area under the margin, turned round: lower is harder",
        "table",
        "arXiv 2001.10528",
        Dynamics,
        table_scores,
        values=Values.OWN,
    ),
    "uniform": Scorer(
        Kind.ROWS, "1 for all: the graph alone decides", "", "arXiv 2310.07931", of_rows=ones, values=Values.SHARE
    ),
    **SIGNAL_SCORERS,
    "column": COLUMN_OF_POOL,
    "head": HEAD,
    "combine": Scorer(Kind.PARTS, "weighted sum of ranks, z-scores, ...", "scores", "", Combine, values=Values.OWN),
    "table": Scorer(
        Kind.ROWS,
        "a column of your own, joined by uid",
        "table",
        "",
        ScoreTable,
        of_rows=table_scores,
        values=Values.OWN,
    ),
}
# Training dynamics of which lower values mean harder samples.
LOWER_IS_HARDER = ("aum",)


@dataclass(frozen=True, slots=True)
class Spec:
    """A scorer's name, and its parameters; `key` is the key of the configuration that asks for it."""

    name: str
    settings: Section | None = None
    key: str = field(default=KEY, compare=False)

    @property
    def scorer(self) -> Scorer:
        """The scorer of that name."""
        return SCORERS[self.name]

    @property
    def wide(self) -> bool:
        """Whether it is kept as float64: a column of the user's keeps its own order, and so does what it is part of."""
        return self.given or any(part.wide for part in parts_of(self))

    @property
    def given(self) -> bool:
        """Whether its values are the user's: of a table, or of a field of the pool."""
        return isinstance(self.settings, ScoreTable | ColumnScore)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of its scores."""
        return np.dtype(np.float64 if self.wide else np.float32)

    @property
    def columns(self) -> list[str]:
        """The columns of rows that a score of rows reads."""
        signal, field = self.scorer.signal, self.field
        scored = score_column(self.settings.of if isinstance(self.settings, ClipScore) else None)
        return ["uid", scored, *filter(None, [signal, field and FIELD.format(field)])]

    @property
    def field(self) -> str | None:
        """The field of the pool that it reads, None if it reads none."""
        return self.settings.name if isinstance(self.settings, ColumnScore) else None

    def plain(self) -> list[Any]:
        """Return it as plain data."""
        return [self.name, self.settings.model_dump(mode="json") if self.settings else None]


# What P(right) is learned from.
CENTRED = Spec("centred_score", CentredScore(form="cosine"))
AGREEMENTS = {side: Spec("neighbour_agreement", NeighbourAgreement(of=side)) for side in get_args(Neighbours)}


def spec_of(score: Score, default: str, key: str = KEY) -> Spec:
    """Return the score that a configuration names at a key; `default` is the scorer that `auto` stands for.

    InputError if it needs parameters; a name is one of `filtering.config.scores.NAMES`.
    """
    if isinstance(score, ScoreTable):
        return Spec("table", score, key)
    if isinstance(score, ScoreOf):
        ((name, settings),) = score.given().items()
        return replace(_completed(name, settings), key=key)
    name = default if score == AUTO else score
    if name == "clip_powered":
        return Spec(name, CLIP_POWERED, key)
    with under(key):
        return replace(_completed(name, _defaults(name)), key=key)


def files_of(spec: Spec) -> list[str]:
    """Return the URLs of the files that a score reads: none of a list that has a name, or a folder that is gone.

    Parts have their own. InputError where a folder of images cannot be listed.
    """
    settings = spec.settings
    if isinstance(settings, ScoreTable | HeadScore):
        return [settings.table if isinstance(settings, ScoreTable) else settings.weights]
    if isinstance(settings, MetaClip):
        return [] if settings.entries == IMAGENET else [settings.entries]
    return target_files(settings.targets) if isinstance(settings, Targets) else []


def parts_of(spec: Spec) -> list[Spec]:
    """Return the scores that another one is made of, such as those that a combination adds up; none of most scores."""
    if isinstance(spec.settings, NeighbourAgreement):
        return [CENTRED]
    if isinstance(spec.settings, Right):
        return [CENTRED, AGREEMENTS["images"], *[AGREEMENTS["captions"]] * (spec.settings.neighbours == "both")]
    parts = spec.settings.of if isinstance(spec.settings, Combine) else ()
    return [spec_of(part.score, "clip_score", spec.key) for part in parts]


def side_of(spec: Spec) -> Side | None:
    """Return whose graph a score reads, the images' or the captions'; None of a score that names none."""
    if not isinstance(spec.settings, NeighbourAgreement):
        return None
    return "image" if spec.settings.of == "images" else "text"


def with_parts(spec: Spec) -> list[Spec]:
    """Return a score after all the scores that it reads."""
    return [*(one for part in parts_of(spec) for one in with_parts(part)), spec]


def _completed(name: str, settings: Section | None) -> Spec:
    """Name the column and the orientation of training dynamics; no batches are the closed form of all of them."""
    if settings == ClipScore():
        # That of the model, which has no parameter.
        return Spec(name)
    if isinstance(settings, NegClipLoss) and not settings.batchings:
        return Spec("centred_score", CentredScore())
    if isinstance(settings, Dynamics):
        keep = "lower" if name in LOWER_IS_HARDER else "higher"
        return Spec(name, ScoreTable(table=settings.table, column=settings.column or name, keep=keep))
    return Spec(name, settings)


def _defaults(name: str) -> Section | None:
    if (settings := SCORERS[name].settings) is None:
        return None
    missing = [key for key, field in settings.model_fields.items() if field.is_required()]
    if missing:
        raise InputError(f"{name} needs {missing[0]}; write {{{name}: {{{missing[0]}: ...}}}}")
    return settings()
