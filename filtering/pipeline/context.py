"""One run on its way through the stages: what is known so far."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from filtering.config.run import Config
from filtering.runtime.finished_run import Carried
from filtering.runtime.stage import Runtime, Stage
from filtering.shards.inventory import Shard


@dataclass(slots=True)
class Way:
    """What the stages that have run found and cost, where their objects are, and what is taken over from a base."""

    config: Config
    runtime: Runtime
    shards: list[Shard]
    carried: Carried | None = None
    costs: list[dict[str, Any]] = field(default_factory=list)
    results: dict[str, Any] = field(default_factory=dict)
    stores: dict[str, str] = field(default_factory=dict)
    fingerprints: dict[str, str] = field(default_factory=dict)

    def take(self, stage: Stage, body: Callable[[Stage], Any]) -> Any:
        """Run a stage, keep what it found and what it cost, and return its result."""
        record = stage.run(body)
        self.costs.append(record["cost"])
        self.results[stage.name] = record["result"]
        self.stores[stage.name] = stage.store.url
        self.fingerprints[stage.name] = stage.fingerprint
        return record["result"]

    def folder(self, url: str) -> str:
        """Return the folder of a stage's objects in the run's directory."""
        return url.removeprefix(f"{self.runtime.store.url}/")
