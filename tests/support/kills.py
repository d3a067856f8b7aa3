"""Work that is killed at a write and started again, against the same work undisturbed."""

import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from mortal import Change, MortalStorage, comparable

STAGE = re.compile(r"/stages/([a-z]+)-")


@dataclass(frozen=True)
class Undisturbed:
    """What work does that nothing disturbs.

    Attributes
    ----------
    start : starts it, or starts it again.
    before, after : the objects before it, and after.
    changes : what it changed, in order.
    returned : what it returned.
    """

    start: Callable[[], Any]
    before: dict[str, bytes]
    after: dict[str, bytes]
    changes: Sequence[Change]
    returned: Any

    def places(self) -> dict[str, list[int]]:
        """By stage, how many changes there were before each of its changes; "start" before the first stage."""
        found, stage = defaultdict(list), "start"
        for place, change in enumerate(self.changes):
            named = STAGE.search(change.path)
            stage = named[1] if named else stage
            found[stage].append(place)
        return found

    def is_killed(self, storage: MortalStorage, after: int) -> None:
        """Leave what a kill leaves after so many changes."""
        storage.kill(self.before, self.changes, after)

    def goes_on(self, storage: MortalStorage) -> Any:
        """Start killed work again, see that nothing tells its objects from the undisturbed ones, return its result."""
        returned = self.start()
        found, expected = comparable(storage.objects), comparable(self.after)
        assert found.keys() == expected.keys()
        differing = [path for path, data in found.items() if data != expected[path]]
        assert not differing, differing
        return returned


def undisturbed(storage: MortalStorage, start: Callable[[], Any]) -> Undisturbed:
    """Do work, and return what it did."""
    before, known = dict(storage.objects), len(storage.changes)
    returned = start()
    return Undisturbed(start, before, dict(storage.objects), storage.changes[known:], returned)
