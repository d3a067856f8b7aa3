"""Training from the pool's own shards: a webdataset pipeline that reads what a run kept, and copies nothing."""

from filtering.loaders.pipeline import KeptPipeline, kept_pipeline
from filtering.loaders.reader import ChangedShardError

__all__ = ["ChangedShardError", "KeptPipeline", "kept_pipeline"]
