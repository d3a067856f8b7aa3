"""Scores as a run names them for a person: in its log, in run.json, in exports and in the report."""

from filtering.config.scores import ClipScore, NeighbourAgreement
from filtering.scores.registry import AGREEMENTS, SCORERS, Spec

# What the agreement of one side means; the registry describes both.
AGREEMENT = {
    "images": "how well the caption fits those of similar images",
    "captions": "how well the image fits those of similar captions",
}


def title_of(spec: Spec) -> str:
    """Return the name of a score; for an agreement also whose neighbours agree, because `right` reads both.

    For a CLIP score also the encoder, where it is not that of the model. A field of the pool is named, too: a
    combination may add up several.
    """
    if isinstance(spec.settings, NeighbourAgreement | ClipScore):
        return f"{spec.name} of {spec.settings.of}"
    return spec.name if spec.field is None else f"{spec.name} {spec.field}"


def about_of(listed: str) -> str:
    """Return the meaning of a score that a run lists, in a few words; its name may end with a number."""
    sides = {title_of(spec): AGREEMENT[side] for side, spec in AGREEMENTS.items()}
    return sides.get(listed) or SCORERS[listed.partition(" ")[0]].about
