"""Scores that cannot be computed are refused before any work is done."""

from pathlib import PurePosixPath

from filtering.config.run import Embedding
from filtering.config.scores import MetaClip, ScoreTable, Targets
from filtering.core.errors import InputError
from filtering.filters.phrases import read_entries
from filtering.scores.contexts import FILES
from filtering.scores.norm_sim import read_targets
from filtering.scores.registry import Kind, Spec, parts_of
from filtering.scores.table_column import check_table
from filtering.storage.store import Store


def check_spec(spec: Spec, model: Embedding | None) -> None:
    """Refuse a score whose tables, targets or images are not there; InputError in one line."""
    settings = spec.settings
    if spec.scorer.kind is Kind.TOWERS and model is None:
        raise InputError(f"selection.score: {spec.name} runs a model over images, and metadata has none; give tars")
    if isinstance(settings, ScoreTable):
        check_table(settings)
    elif isinstance(settings, Targets):
        _check_targets(settings.targets)
    elif isinstance(settings, MetaClip):
        read_entries(settings.entries)
    for part in parts_of(spec):
        check_spec(part, model)


def _check_targets(url: str) -> None:
    if PurePosixPath(url.partition("#")[0]).suffix in FILES:
        read_targets(url)
    elif not Store(url).names():
        raise InputError(f"targets: {url} is not there, or holds nothing")
