"""Decide which image-text pairs a multimodal model should be trained on, at web scale.

The public API is what this module exports; docs/python.md shows how to use it. Nothing heavy (torch, Ray, faiss) is
imported before it is needed.
"""

import importlib
import os
from typing import TYPE_CHECKING, Any

# Under `uv run`, Ray's uv hook would re-create the environment for every worker: the workers of a run
# must use the interpreter of the driver, so the hook is switched off before Ray is imported.
os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")

if TYPE_CHECKING:
    from filtering.config.run import Config, load_config
    from filtering.core.errors import FilteringError, InputError, RunError
    from filtering.explanations import explain
    from filtering.loaders import kept_pipeline
    from filtering.manifests.opened import OpenedRun, open_run
    from filtering.pipeline.api import run

__version__ = "0.1.0"
__all__ = [
    "Config",
    "FilteringError",
    "InputError",
    "OpenedRun",
    "RunError",
    "explain",
    "kept_pipeline",
    "load_config",
    "open_run",
    "run",
]

_HOMES = {
    "Config": "filtering.config.run",
    "FilteringError": "filtering.core.errors",
    "InputError": "filtering.core.errors",
    "OpenedRun": "filtering.manifests.opened",
    "RunError": "filtering.core.errors",
    "explain": "filtering.explanations",
    "kept_pipeline": "filtering.loaders",
    "load_config": "filtering.config.run",
    "open_run": "filtering.manifests.opened",
    "run": "filtering.pipeline.api",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    # Found at once from now on.
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
