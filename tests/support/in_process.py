"""Exports whose tasks run one after the other in this process, and say nothing."""

from collections.abc import Mapping

from pools import Silent

from filtering.exports import export as exports
from filtering.exports.options import Options
from filtering.runtime.executor import Executor
from filtering.runtime.in_process import InProcessExecutor
from filtering.storage.store import Store


def export(
    run: Store,
    form: str,
    out: str,
    options: Options | None = None,
    executor: Executor | None = None,
    into_existing: bool = False,
) -> Mapping[str, object]:
    """Write an export of a finished run as `filtering.exports.export.export` does, and return what was written."""
    return exports.export(run, form, out, options, Silent(), executor or InProcessExecutor(), into_existing)
