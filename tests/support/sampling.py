"""All of what could be tried, or a part of it, as the profile of Hypothesis says."""

from collections.abc import Sequence
from typing import TypeVar

from hypothesis import settings

Item = TypeVar("Item")


def some_of(items: Sequence[Item], few: int, *, step: int = 2, start: int = 0) -> Sequence[Item]:
    """Return all items under the profile `thorough`, under `full` each step-th from `start` on, else a few.

    Few are the first, the last and others between, or the middle one.
    """
    profile = settings.get_current_profile_name()
    if profile == "thorough":
        return items
    if profile == "full":
        return items[start % step :: step]
    if len(items) <= few:
        return items
    if few == 1:
        return [items[len(items) // 2]]
    return [items[at * (len(items) - 1) // (few - 1)] for at in range(few)]
