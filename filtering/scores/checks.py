"""What no score can do, refused before any work is done."""

from collections.abc import Collection

from filtering.config.embedding import Embedding
from filtering.config.scores import ClipScore, ColumnScore, HeadScore, MetaClip, ScoreTable, Targets
from filtering.core.errors import InputError, under
from filtering.embedding.encoders import check_scoring_encoder
from filtering.filters.column_filters import check_field
from filtering.filters.heads import read_head
from filtering.filters.phrases import check_entries
from filtering.filters.signal_filters import check_signal
from filtering.scores.contexts import check_targets
from filtering.scores.registry import Spec, parts_of
from filtering.scores.scorer import Kind
from filtering.scores.table_column import check_table


def check_spec(spec: Spec, model: Embedding | None, fields: Collection[str] = ()) -> None:
    """Refuse a score whose tables, targets, images, signal or field are not there; InputError in one line with its key.

    `fields` are those that the pool brings.
    """
    settings = spec.settings
    with under(spec.key):
        if spec.scorer.kind is Kind.TOWERS and model is None:
            raise InputError(f"{spec.name} runs a model over images, and metadata has none; give tars")
        if isinstance(settings, ScoreTable):
            check_table(settings)
        elif isinstance(settings, ClipScore):
            check_scoring_encoder(settings.of or "", model)
        elif isinstance(settings, Targets):
            check_targets(settings.targets)
        elif isinstance(settings, MetaClip):
            check_entries(settings.entries)
        elif isinstance(settings, HeadScore):
            read_head(settings)
        elif isinstance(settings, ColumnScore):
            check_field(settings.name, spec.name, fields)
        elif spec.scorer.signal is not None:
            check_signal(spec.scorer.signal, spec.name, model.signals if model else (), model is not None)
    for part in parts_of(spec):
        check_spec(part, model, fields)
