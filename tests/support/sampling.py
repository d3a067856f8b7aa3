"""All of what could be tried, or a few of it, as the profile of Hypothesis says."""

from collections.abc import Sequence
from typing import TypeVar

from hypothesis import settings

Item = TypeVar("Item")


def some_of(items: Sequence[Item], few: int) -> Sequence[Item]:
    """Return all items under the profile `full`, else a few: the first, the last and others between, or the middle."""
    if settings.get_current_profile_name() == "full" or len(items) <= few:
        return items
    if few == 1:
        return [items[len(items) // 2]]
    return [items[at * (len(items) - 1) // (few - 1)] for at in range(few)]
