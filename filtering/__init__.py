"""Decide which image-text pairs a multimodal model should be trained on, at web scale."""

import os

# Under `uv run`, Ray's uv hook would re-create the environment for every worker: the workers of a run
# must use the interpreter of the driver, so the hook is switched off before Ray is imported.
os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")

__version__ = "0.1.0"
