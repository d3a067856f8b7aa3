"""A stage whose tasks run in this process, without an executor, markers or progress."""

from filtering.runtime.stage import StageKey
from filtering.storage.store import Store


class PlainStage:
    """What a stage's functions use of a `StageRun`."""

    def __init__(self, store: Store, name: str = "graph") -> None:
        self.store, self.key = store, StageKey(name, 1, None)

    def map(self, tasks, unit, workers=None):
        names = [task.name for task in tasks]
        assert len(set(names)) == len(names)
        return [task.function(*task.args, **task.kwargs) for task in tasks]

    def call(self, name, function, *arguments):
        return function(*arguments)
