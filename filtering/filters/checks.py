"""Filters that cannot work are refused before any work is done."""

from collections.abc import Sequence

from filtering.config.filters import Filter
from filtering.filters.language import check_language
from filtering.filters.words import listed


def check_filters(filters: Sequence[Filter]) -> None:
    """Refuse filters whose package or list is missing or whose language is unknown; InputError says what to do."""
    for step in filters:
        if step.language is not None:
            check_language(step.language)
        if step.words is not None:
            listed(step.words)
