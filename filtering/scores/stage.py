"""The scores stage: one score a row, by shard."""

from collections.abc import Sequence

from filtering.attempts import Task
from filtering.config import Config, ScoreTable
from filtering.embedding.objects import EmbeddedShard
from filtering.scores.objects import SCORES_NAME
from filtering.scores.registry import scorer
from filtering.stage import Runtime, Stage
from filtering.storage import Store

VERSION = 1
COLUMNS = ["uid", "clip_score"]


def scores_stage(runtime: Runtime, config: Config, embedding: str) -> Stage:
    """Return the stage."""
    return Stage(runtime, "scores", VERSION, config.selection.model_dump()["score"], (embedding,))


def score(stage: Stage, config: Config, shards: Sequence[EmbeddedShard]) -> dict[str, int]:
    """Write the configured score of every row."""
    tasks = [Task(s.shard.identity, (s, config.selection.score, stage.store.url)) for s in shards]
    counts = stage.map(lambda engine: engine.tasks(_score), tasks, "shards")
    rows = sum(count["rows"] for count in counts)
    name = config.selection.score
    stage.summary = f"{rows:,} samples scored by {name if isinstance(name, str) else name.column}"
    return {"rows": rows}


def _score(shard: EmbeddedShard, name: str | ScoreTable, store_url: str) -> dict[str, int]:
    rows = shard.rows(COLUMNS)
    Store(store_url).write_arrays(SCORES_NAME.format(shard.shard.identity), {"score": scorer(name)(rows)})
    return {"rows": len(rows)}
